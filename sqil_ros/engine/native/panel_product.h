// SPDX-License-Identifier: Apache-2.0
// Many rows of inputs times weights, both as words of 32 bits that hold some columns of a row.
//
// A kind says what words hold and how they are multiplied: bytes (codes_product.h) or bfloat16
// (halves_product.h). It has
//   Sum, Number     a vector of sums, and one of them
//   Inputs          rows of inputs
//   kColumns        of a word
//   row_at          where a row of inputs has a column
//   unpack<bits>    columns [first, last) of a tile, a word of every row after the other
//   dot             sum + weights * inputs
//   Facts           PanelFacts, and what a group adds to the outputs of a panel
#pragma once

#include "kernels.h"
#include "lanes.h"
#include "product.h"

namespace sqil {
namespace {

constexpr int kPanelWords = 256;    // of a row; 32 KiB stay near
constexpr int kBunch = 24 * kRows;  // rows that share what was unpacked

inline int32_t word_at(const void *from) {
  int32_t word;
  __builtin_memcpy(&word, from, sizeof word);
  return word;
}

// Adds (R, words) of inputs times (words, V vectors) of a panel to `totals`, kPanel numbers a row;
// `fresh`: they begin with nothing.
template <typename Kind, int R, int V>
void dot_block(const char *inputs, int64_t stride, const uint32_t *panel, int size, bool fresh,
               typename Kind::Number *totals) {
  typename Kind::Sum total[R][V] = {};
  if (!fresh) {
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) total[r][v] = load(totals + r * kPanel + v * kLanes);
    }
  }
  for (int at = 0; at < size; ++at) {
    words weight[V];
    for (int v = 0; v < V; ++v) weight[v] = load(panel + at * kPanel + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const int32_t word = word_at(inputs + r * stride + at * sizeof(int32_t));
      for (int v = 0; v < V; ++v) total[r][v] = Kind::dot(total[r][v], weight[v], word);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) store(totals + r * kPanel + v * kLanes, total[r][v]);
  }
}

template <typename Kind, int V, int R = kRows>
inline void dot_rows(int rows, const char *inputs, int64_t stride, const uint32_t *panel, int size,
                     bool fresh, typename Kind::Number *totals) {
  if (rows == R) {
    dot_block<Kind, R, V>(inputs, stride, panel, size, fresh, totals);
  } else if constexpr (R > 1) {
    dot_rows<Kind, V, R - 1>(rows, inputs, stride, panel, size, fresh, totals);
  }
}

template <int bits>
inline const uint32_t *block_at(const sqil_linear &layer, int tile, int column) {
  return layer.tiles + tile * tile_words(layer.columns, bits) + column / kBlock * bits * kTile;
}

// Asks for part `part` of `parts` of what `columns` take from `block` on; a vector is a line.
template <int bits>
inline void fetch(const uint32_t *block, int columns, int part, int parts) {
  const int lines = columns / kBlock * bits;
  for (int line = lines * part / parts; line < lines * (part + 1) / parts; ++line) {
    __builtin_prefetch(block + line * kTile);
  }
}

// What is known of the outputs of a panel, from row `row` of the layer on.
class PanelFacts {
 public:
  PanelFacts(const sqil_linear &layer, int row, int outputs) : outputs_(outputs) {
    for (int o = 0; layer.bias && o < outputs; ++o) bias_[o] = layer.bias[row + o];
  }

 protected:
  // Adds a sum to the outputs from `at` on; without anything `begun`, to their biases.
  void add(floats sum, int at, bool begun, float *y) const {
    const float *from = begun ? y : bias_;
    if (at + kLanes <= outputs_) {
      store(y + at, load(from + at) + sum);
    } else {
      for (int o = at; o < outputs_; ++o) y[o] = from[o] + sum[o - at];
    }
  }

  const int outputs_;
  alignas(64) float bias_[kPanel] = {}, scale_[kPanel] = {};
};

// At most kBunch rows times panel `index`.
template <typename Kind, int bits>
void multiply_bunch(const sqil_linear &layer, const typename Kind::Inputs &x, int count, float *y,
                    int64_t y_stride, int index) {
  constexpr int kChunkColumns = kPanelWords * Kind::kColumns;
  alignas(64) uint32_t panel[kPanelWords * kPanel];
  alignas(64) typename Kind::Number totals[kBunch * kPanel];
  const int row = index * kPanel, columns = up_to(layer.columns, kBlock);
  const int outputs = layer.rows - row < kPanel ? layer.rows - row : kPanel;
  const int tiles = (outputs + kTile - 1) / kTile;
  typename Kind::Facts facts(layer, row, outputs);
  const int groups = bits > 8 ? 1 : layer.groups, run = columns / groups;
  const int blocks = (count + kRows - 1) / kRows;
  for (int begin = 0, size; begin < columns; begin += size) {
    const int group = begin / run, group_begin = group * run, group_end = group_begin + run;
    size = begin + kChunkColumns < group_end ? kChunkColumns : group_end - begin;
    const int end = begin + size;
    const bool fresh = begin == group_begin, finished = end == group_end;
    if (fresh) facts.begin_group(layer, row, tiles, group);
    for (int tile = 0; tile < tiles; ++tile) {
      Kind::template unpack<bits>(layer, index * kPanelTiles + tile, begin, end, group,
                                  panel + tile * kTile);
    }
    const int next_tile = (index + (end == columns)) * kPanelTiles;
    const int next_column = end == columns ? 0 : end;
    for (int block = 0, first = 0, rows; block < blocks; ++block, first += rows) {
      rows = (count - first) / (blocks - block);
      // What is unpacked next, and the places of these sums, come from memory meanwhile.
      for (int tile = next_tile; tile < next_tile + tiles; ++tile) {
        fetch<bits>(block_at<bits>(layer, tile, next_column), size, block, blocks);
      }
      float *to = y + first * y_stride;
      for (int r = 0; finished && r < rows; ++r) {
        for (int at = 0; at < outputs; at += kTile) __builtin_prefetch(to + r * y_stride + at, 1);
      }
      const char *inputs = Kind::row_at(x, first, begin);
      typename Kind::Number *sums = totals + first * kPanel;
      const int64_t stride = Kind::row_at(x, 1, 0) - Kind::row_at(x, 0, 0);
      if (tiles > 1) {
        dot_rows<Kind, kPanelTiles * kParts>(rows, inputs, stride, panel, size / Kind::kColumns,
                                             fresh, sums);
      } else {
        dot_rows<Kind, kParts>(rows, inputs, stride, panel, size / Kind::kColumns, fresh, sums);
      }
      for (int r = 0; finished && r < rows; ++r) {
        facts.add_group(x, first + r, group_begin, group_end, sums + r * kPanel, to + r * y_stride);
      }
    }
  }
}

// Panels [first, last) of a layer's outputs; `y` is where the first of them lies.
template <typename Kind, int bits>
void multiply_bunches(const sqil_linear &layer, const typename Kind::Inputs &x, int count,
                      float *y, int64_t y_stride, int first, int last) {
  for (int panel = first; panel < last; ++panel, y += kPanel) {
    for (int row = 0; row < count; row += kBunch) {
      multiply_bunch<Kind, bits>(layer, from_row(x, row), count - row < kBunch ? count - row : kBunch,
                                 y + row * y_stride, y_stride, panel);
    }
  }
}

}  // namespace
}  // namespace sqil
