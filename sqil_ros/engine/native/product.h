// SPDX-License-Identifier: Apache-2.0
// Activations times weights: a few rows straight from the codes, many through decoded panels.
#pragma once

#include "codes.h"
#include "engine.h"

namespace sqil {
namespace {

// Accumulators of kRows x kPanel outputs fill the registers of the instruction set.
#if defined(__AVX512F__)
constexpr int kRows = 12, kPanelTiles = 2;
#elif defined(__AVX2__)
constexpr int kRows = 6, kPanelTiles = 1;
#else
constexpr int kRows = 3, kPanelTiles = 1;
#endif
constexpr int kPanel = kPanelTiles * kTile;
constexpr int kChunk = 192;  // columns of a decoded panel; 24 KiB stay in the first cache
constexpr int kAhead = 1024;  // words; the processor's own foresight ends with a page

// Scales, zero points or biases of a tile, read row by row; the last tile may lack rows.
template <typename Number>
inline void tile_of(const Number *from, int row, int rows, int stride, float *to) {
  for (int lane = 0; lane < kTile; ++lane) {
    to[lane] = row + lane < rows ? float(from[int64_t(row + lane) * stride]) : 0.0f;
  }
}

// ---- many rows

// (R, columns) times (columns, V vectors) of a panel into `out` of kPanel floats a row.
template <int R, int V>
void multiply_block(const float *x, int64_t x_stride, const float *panel,
                           int64_t panel_stride, int columns, float *out) {
  floats total[R][V] = {};
  for (int column = 0; column < columns; ++column) {
    floats weight[V];
    for (int v = 0; v < V; ++v) weight[v] = load(panel + column * panel_stride + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float factor = x[r * x_stride + column];
      for (int v = 0; v < V; ++v) total[r][v] += factor * weight[v];
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) store(out + r * kPanel + v * kLanes, total[r][v]);
  }
}

template <int V, int R = kRows>
inline void multiply_rows(int rows, const float *x, int64_t x_stride, const float *panel,
                                 int64_t panel_stride, int columns, float *out) {
  if (rows == R) {
    multiply_block<R, V>(x, x_stride, panel, panel_stride, columns, out);
  } else if constexpr (R > 1) {
    multiply_rows<V, R - 1>(rows, x, x_stride, panel, panel_stride, columns, out);
  }
}

// y[r] = start[r] + x[r] @ panel for `outputs` columns, at most kPanel. The panel is readable up
// to the next multiple of kTile. `start` may be `y` itself.
void multiply_panel(const float *x, int64_t x_stride, int count, const float *panel,
                           int64_t panel_stride, int columns, const float *start,
                           int64_t start_stride, float *y, int64_t y_stride, int outputs) {
  const int blocks = (count + kRows - 1) / kRows;
  for (int block = 0, first = 0; block < blocks; ++block) {
    const int rows = (count - first) / (blocks - block);  // even blocks: no short one at the end
    float out[kRows * kPanel];
    if (outputs > kTile) {
      multiply_rows<kPanelTiles * kParts>(rows, x + first * x_stride, x_stride, panel,
                                          panel_stride, columns, out);
    } else {
      multiply_rows<kParts>(rows, x + first * x_stride, x_stride, panel, panel_stride, columns,
                            out);
    }
    for (int r = 0; r < rows; ++r) {
      const float *from = start + (first + r) * start_stride;
      float *to = y + (first + r) * y_stride;
      for (int o = 0; o < outputs; ++o) to[o] = from[o] + out[r * kPanel + o];
    }
    first += rows;
  }
}

// Columns [first, last) of tile `tile` into lanes of a panel.
template <int bits>
void decode(const sqil_linear &layer, int tile, int first, int last, float *panel) {
  const Codes<bits> codes;
  const int run = bits > 8 ? 0 : up_to(layer.columns, kBlock) / layer.groups;
  const int row = tile * kTile;
  float scale[kTile], zero[kTile] = {};
  for (int column = first; column < last; column += kBlock) {
    if (bits <= 8 && (column == first || column % run == 0)) {
      const int group = column / run;
      tile_of(layer.scale + group, row, layer.rows, layer.groups, scale);
      if (layer.zero) tile_of(layer.zero + group, row, layer.rows, layer.groups, zero);
    }
    const uint32_t *block =
        layer.tiles + tile * tile_words(layer.columns, bits) + column / kBlock * bits * kTile;
    float *to = panel + int64_t(column - first) * kPanel;
    for (int part = 0; part < kParts; ++part) {
      const int lane = part * kLanes;
#pragma GCC unroll 32
      for (int c = 0; c < kBlock; ++c) {
        floats weight = codes.weight(block + lane, c);
        if (bits <= 8) weight = (weight - load(zero + lane)) * load(scale + lane);
        store(to + c * kPanel + lane, weight);
      }
    }
  }
}

template <int bits>
void multiply_many(const sqil_linear &layer, const float *x, int64_t x_stride, int count,
                          float *y, int64_t y_stride, int index) {
  alignas(64) float panel[kChunk * kPanel];
  float bias[kPanel] = {};
  const int row = index * kPanel;
  const int outputs = layer.rows - row < kPanel ? layer.rows - row : kPanel;
  if (layer.bias) {
    for (int o = 0; o < outputs; ++o) bias[o] = layer.bias[row + o];
  }
  const int columns = up_to(layer.columns, kBlock);
  for (int first = 0; first < columns; first += kChunk) {
    const int last = first + kChunk < columns ? first + kChunk : columns;
    for (int tile = 0; tile * kTile < outputs; ++tile) {
      decode<bits>(layer, index * kPanelTiles + tile, first, last, panel + tile * kTile);
    }
    const bool begun = first > 0;
    multiply_panel(x + first, x_stride, count, panel, kPanel, last - first, begun ? y : bias,
                   begun ? y_stride : 0, y, y_stride, outputs);
  }
}

// ---- few rows

// R rows of x times tile `tile`.
template <int bits, int R>
void multiply_tile(const sqil_linear &layer, const float *x, int64_t x_stride, float *y,
                          int64_t y_stride, int tile) {
  constexpr int kChains = R == 1 ? 4 : R == 2 ? 2 : 1;  // hide the latency of an addition
  const Codes<bits> codes;
  const int row = tile * kTile;
  const int groups = bits > 8 ? 1 : layer.groups;
  const int blocks = up_to(layer.columns, kBlock) / kBlock / groups;
  const uint32_t *block = layer.tiles + tile * tile_words(layer.columns, bits);
  float scale[kTile], zero[kTile], out[R][kTile] = {};
  if (layer.bias) {
    for (int r = 0; r < R; ++r) tile_of(layer.bias, row, layer.rows, 1, out[r]);
  }
  for (int group = 0; group < groups; ++group, x += blocks * kBlock, block += blocks * bits * kTile) {
    if (bits <= 8) tile_of(layer.scale + group, row, layer.rows, groups, scale);
    if (bits <= 8 && layer.zero) tile_of(layer.zero + group, row, layer.rows, groups, zero);
    for (int part = 0; part < kParts; ++part) {
      const int lane = part * kLanes;
      floats total[R][kChains] = {};
      for (int b = 0; b < blocks; ++b) {
        const uint32_t *vectors = block + int64_t(b) * bits * kTile + lane;
        for (int line = 0; line < bits; ++line) __builtin_prefetch(vectors + kAhead + line * kTile);
#pragma GCC unroll 32
        for (int c = 0; c < kBlock; ++c) {
          const floats weight = codes.weight(vectors, c);
          for (int r = 0; r < R; ++r) {
            total[r][c % kChains] += x[r * x_stride + b * kBlock + c] * weight;
          }
        }
      }
      for (int r = 0; r < R; ++r) {
        floats value = total[r][0];
        for (int chain = 1; chain < kChains; ++chain) value += total[r][chain];
        if (bits <= 8) {
          if (layer.zero) {
            floats inputs = {};
            for (int c = 0; c < blocks * kBlock; c += kLanes) inputs += load(x + r * x_stride + c);
            value -= sum(inputs) * load(zero + lane);
          }
          value *= load(scale + lane);
        }
        store(out[r] + lane, load(out[r] + lane) + value);
      }
    }
  }
  const int outputs = layer.rows - row < kTile ? layer.rows - row : kTile;
  for (int r = 0; r < R; ++r) {
    for (int o = 0; o < outputs; ++o) y[r * y_stride + o] = out[r][o];
  }
}

template <int bits, int R = kFew>
inline void multiply_few(const sqil_linear &layer, const float *x, int64_t x_stride,
                                int count, float *y, int64_t y_stride, int tile) {
  if (count == R) {
    multiply_tile<bits, R>(layer, x, x_stride, y, y_stride, tile);
  } else if constexpr (R > 1) {
    multiply_few<bits, R - 1>(layer, x, x_stride, count, y, y_stride, tile);
  }
}

// ---- both

template <int bits>
void multiply_width(const sqil_linear &layer, const float *x, int64_t x_stride, int count,
                           float *y, int64_t y_stride, int first, int last) {
  if (count > kFew) {
    for (int panel = first; panel < last; ++panel, y += kPanel) {
      multiply_many<bits>(layer, x, x_stride, count, y, y_stride, panel);
    }
    return;
  }
  const int tiles = up_to(layer.rows, kTile) / kTile;
  const int end = last * kPanelTiles < tiles ? last * kPanelTiles : tiles;
  for (int tile = first * kPanelTiles; tile < end; ++tile, y += kTile) {
    multiply_few<bits>(layer, x, x_stride, count, y, y_stride, tile);
  }
}

// Panels [first, last) of a layer's outputs; `y` is where the first of them lies.
void multiply(const sqil_linear &layer, const float *x, int64_t x_stride, int count,
                     float *y, int64_t y_stride, int first, int last) {
  switch (layer.bits) {
    case 2: return multiply_width<2>(layer, x, x_stride, count, y, y_stride, first, last);
    case 3: return multiply_width<3>(layer, x, x_stride, count, y, y_stride, first, last);
    case 4: return multiply_width<4>(layer, x, x_stride, count, y, y_stride, first, last);
    case 8: return multiply_width<8>(layer, x, x_stride, count, y, y_stride, first, last);
    case 16: return multiply_width<16>(layer, x, x_stride, count, y, y_stride, first, last);
    default: return multiply_width<32>(layer, x, x_stride, count, y, y_stride, first, last);
  }
}

}  // namespace
}  // namespace sqil
