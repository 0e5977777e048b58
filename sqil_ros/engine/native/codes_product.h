// SPDX-License-Identifier: Apache-2.0
// Rounded activations times weights, both as integers: four columns an instruction (AVX-512 VNNI).
//
//   y = step * sum over groups of scale * (sum of x_code * w_code - (2^(b-1) + zero) * sum of x_code)
//
// where w_code is offset, as it lies in memory (layout.h), so that its bytes are unsigned. The sums
// are exact: only the groups are added up in float32.
#pragma once

#include "kernels.h"
#include "product.h"
#include "rows.h"

#ifdef __AVX512VNNI__

namespace sqil {
namespace {

constexpr int kQuads = kBlock / 4;     // dot products of a block
constexpr int kCodeColumns = 512;      // of a panel; 16 KiB stay in the first cache
constexpr int kCodeRows = 12;
constexpr int kCodeChains = 4;         // sums that run beside each other where rows are few

inline ints dot(ints total, words weights, int32_t inputs) {
  return (ints)_mm512_dpbusd_epi32((__m512i)total, (__m512i)weights, _mm512_set1_epi32(inputs));
}

// Columns [4 quad, 4 quad + 4) of 16 rows.
template <int bits>
inline words quad_of(const uint32_t *block, int quad) {
  if constexpr (bits == 8) {
    return load(block + quad * kTile);
  } else if constexpr (bits == 3) {
    const words high = load(block + 2 * kTile) >> quad;
    return quad_of<2>(block, quad) | (high & 0x01010101u) << 2;
  } else {
    constexpr int per = 8 / bits;
    const words vector = load(block + quad / per * kTile);
    return vector >> (quad % per * bits) & ((1u << bits) - 1) * 0x01010101u;
  }
}

inline int32_t word_of(const int8_t *codes) {
  int32_t word;
  __builtin_memcpy(&word, codes, sizeof word);
  return word;
}

// What a group adds to 16 outputs: scale * (total - offset * inputs) * step.
inline floats group_sum(ints total, int32_t inputs, const float *offset, const float *scale,
                        float step) {
  const floats centred = __builtin_convertvector(total, floats) - float(inputs) * load(offset);
  return centred * (load(scale) * step);
}

// 2^(b-1) + zero of a tile.
inline void offset_of(const sqil_linear &layer, int row, int group, float *offset) {
  for (int lane = 0; lane < kTile; ++lane) offset[lane] = 0.0f;
  if (layer.zero) tile_of(layer.zero + group, row, layer.rows, layer.groups, offset);
  for (int lane = 0; lane < kTile; ++lane) offset[lane] += float(1 << (layer.bits - 1));
}

// ---- many rows

// (R, quads) words of inputs times (quads, V tiles) of a panel into `totals`, kPanel words a row.
template <int R, int V>
void dot_block(const int8_t *codes, int64_t stride, const uint32_t *panel, int quads,
               int32_t *totals) {
  ints total[R][V] = {};
  for (int quad = 0; quad < quads; ++quad) {
    words weight[V];
    for (int v = 0; v < V; ++v) weight[v] = load(panel + quad * kPanel + v * kTile);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const int32_t inputs = word_of(codes + r * stride + quad * 4);
      for (int v = 0; v < V; ++v) total[r][v] = dot(total[r][v], weight[v], inputs);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) {
      _mm512_storeu_si512(totals + r * kPanel + v * kTile, (__m512i)total[r][v]);
    }
  }
}

template <int V, int R = kCodeRows>
inline void dot_rows(int rows, const int8_t *codes, int64_t stride, const uint32_t *panel,
                     int quads, int32_t *totals) {
  if (rows == R) {
    dot_block<R, V>(codes, stride, panel, quads, totals);
  } else if constexpr (R > 1) {
    dot_rows<V, R - 1>(rows, codes, stride, panel, quads, totals);
  }
}

// Columns [first, last) of tile `tile`, a word for every four of them.
template <int bits>
void spread(const sqil_linear &layer, int tile, int first, int last, uint32_t *panel) {
  const uint32_t *tiles = layer.tiles + tile * tile_words(layer.columns, bits);
  for (int column = first; column < last; column += kBlock) {
    const uint32_t *block = tiles + column / kBlock * bits * kTile;
    uint32_t *to = panel + int64_t(column - first) / 4 * kPanel;
#pragma GCC unroll 8
    for (int quad = 0; quad < kQuads; ++quad) {
      _mm512_storeu_si512(to + quad * kPanel, (__m512i)quad_of<bits>(block, quad));
    }
  }
}

template <int bits>
void multiply_codes_many(const sqil_linear &layer, const CodeRows &x, int count, float *y,
                         int64_t y_stride, int index) {
  alignas(64) uint32_t panel[kCodeColumns / 4 * kPanel];
  alignas(64) int32_t totals[kCodeRows * kPanel];
  alignas(64) float scale[kPanel] = {}, offset[kPanel] = {}, bias[kPanel] = {}, sums[kPanel];
  const int row = index * kPanel;
  const int outputs = layer.rows - row < kPanel ? layer.rows - row : kPanel;
  const int tiles = (outputs + kTile - 1) / kTile;
  if (layer.bias) {
    for (int o = 0; o < outputs; ++o) bias[o] = layer.bias[row + o];
  }
  const int run = up_to(layer.columns, kBlock) / layer.groups;
  for (int group = 0; group < layer.groups; ++group) {
    for (int tile = 0; tile < tiles; ++tile) {
      tile_of(layer.scale + group, row + tile * kTile, layer.rows, layer.groups,
              scale + tile * kTile);
      offset_of(layer, row + tile * kTile, group, offset + tile * kTile);
    }
    for (int begin = group * run; begin < (group + 1) * run; begin += kCodeColumns) {
      const int end = begin + kCodeColumns < (group + 1) * run ? begin + kCodeColumns
                                                              : (group + 1) * run;
      for (int tile = 0; tile < tiles; ++tile) {
        spread<bits>(layer, index * kPanelTiles + tile, begin, end, panel + tile * kTile);
      }
      const int blocks = (count + kCodeRows - 1) / kCodeRows;
      for (int block = 0, first = 0; block < blocks; ++block) {
        const int rows = (count - first) / (blocks - block);
        const int8_t *codes = x.codes + first * x.stride + begin;
        if (tiles > 1) {
          dot_rows<2>(rows, codes, x.stride, panel, (end - begin) / 4, totals);
        } else {
          dot_rows<1>(rows, codes, x.stride, panel, (end - begin) / 4, totals);
        }
        for (int r = 0; r < rows; ++r) {
          const int32_t *seen = x.sums + (first + r) * x.sums_stride;
          const int32_t inputs = seen[end / kBlock] - seen[begin / kBlock];
          for (int tile = 0; tile < tiles; ++tile) {
            const int at = tile * kTile;
            const ints total = (ints)_mm512_loadu_si512(totals + r * kPanel + at);
            store(sums + at, group_sum(total, inputs, offset + at, scale + at, x.steps[first + r]));
          }
          float *to = y + (first + r) * y_stride + row;
          const float *from = begin > 0 ? to : bias;
          for (int o = 0; o < outputs; ++o) to[o] = from[o] + sums[o];
        }
        first += rows;
      }
    }
  }
}

// ---- few rows

template <int bits, int R>
void multiply_codes_tile(const sqil_linear &layer, const CodeRows &x, float *y, int64_t y_stride,
                         int tile) {
  alignas(64) float scale[kTile], offset[kTile], bias[kTile] = {};
  const int row = tile * kTile;
  const int blocks = up_to(layer.columns, kBlock) / kBlock / layer.groups;
  const uint32_t *block = layer.tiles + tile * tile_words(layer.columns, bits);
  if (layer.bias) tile_of(layer.bias, row, layer.rows, 1, bias);
  floats out[R];
  for (int r = 0; r < R; ++r) out[r] = load(bias);
  for (int group = 0; group < layer.groups; ++group) {
    tile_of(layer.scale + group, row, layer.rows, layer.groups, scale);
    offset_of(layer, row, group, offset);
    ints total[R][kCodeChains] = {};
    for (int b = 0; b < blocks; ++b, block += bits * kTile) {
      const int8_t *codes = x.codes + int64_t(group * blocks + b) * kBlock;
      for (int line = 0; line < bits; ++line) __builtin_prefetch(block + kAhead + line * kTile);
#pragma GCC unroll 8
      for (int quad = 0; quad < kQuads; ++quad) {
        const words weights = quad_of<bits>(block, quad);
        for (int r = 0; r < R; ++r) {
          ints &sum = total[r][quad % kCodeChains];
          sum = dot(sum, weights, word_of(codes + r * x.stride + quad * 4));
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      ints all_chains = total[r][0];
      for (int chain = 1; chain < kCodeChains; ++chain) all_chains += total[r][chain];
      const int32_t *seen = x.sums + r * x.sums_stride;
      const int32_t inputs = seen[(group + 1) * blocks] - seen[group * blocks];
      out[r] += group_sum(all_chains, inputs, offset, scale, x.steps[r]);
    }
  }
  const int outputs = layer.rows - row < kTile ? layer.rows - row : kTile;
  for (int r = 0; r < R; ++r) {
    for (int o = 0; o < outputs; ++o) y[r * y_stride + row + o] = out[r][o];
  }
}

// ---- both

template <int bits>
void multiply_codes_width(const sqil_linear &layer, const CodeRows &x, int count, float *y,
                          int64_t y_stride, int first, int last) {
  if (count > kFew) {
    for (int panel = first; panel < last; ++panel) {
      multiply_codes_many<bits>(layer, x, count, y, y_stride, panel);
    }
    return;
  }
  const int tiles = up_to(layer.rows, kTile) / kTile;
  const int end = last * kPanelTiles < tiles ? last * kPanelTiles : tiles;
  for (int tile = first * kPanelTiles; tile < end; ++tile) {
    if (count == 1) multiply_codes_tile<bits, 1>(layer, x, y, y_stride, tile);
    if (count == 2) multiply_codes_tile<bits, 2>(layer, x, y, y_stride, tile);
  }
}

// Panels [first, last) of a layer's outputs; its weights have at most 8 bits.
void multiply_codes(const sqil_linear &layer, const CodeRows &x, int count, float *y,
                    int64_t y_stride, int first, int last) {
  switch (layer.bits) {
    case 2: return multiply_codes_width<2>(layer, x, count, y, y_stride, first, last);
    case 3: return multiply_codes_width<3>(layer, x, count, y, y_stride, first, last);
    case 4: return multiply_codes_width<4>(layer, x, count, y, y_stride, first, last);
    default: return multiply_codes_width<8>(layer, x, count, y, y_stride, first, last);
  }
}

// Onto the grid of sqil_ros/quant/activations.py, as in rows.h, but kept as codes.
void round_codes(const float *x, int64_t stride, int count, int width, int bits, float static_step,
                 const CodeRows &to) {
  const float highest = float((1 << (bits - 1)) - 1);
  const int size = up_to(width, kBlock);
  for (int row = 0; row < count; ++row, x += stride) {
    const float step =
        (static_step == 0.0f ? token_step(x, size, highest) : static_step) + unsound(x, size);
    int8_t *codes = to.codes + row * to.stride;
    int32_t *sums = to.sums + row * to.sums_stride;
    sums[0] = 0;
    for (int c = 0; c < size; c += kBlock) {
      ints total = {};
      for (int half = 0; half < kBlock; half += kLanes) {
        const ints code =
            __builtin_convertvector(code_of(load(x + c + half), step, highest), ints);
        total += code;
        _mm_storeu_si128((__m128i *)(codes + c + half), _mm512_cvtepi32_epi8((__m512i)code));
      }
      sums[c / kBlock + 1] = sums[c / kBlock] + _mm512_reduce_add_epi32((__m512i)total);
    }
    to.steps[row] = step;
  }
}

}  // namespace
}  // namespace sqil

#endif  // __AVX512VNNI__
