// SPDX-License-Identifier: Apache-2.0
// Rounded activations times weights, both as integers, four columns at a time (dots.h).
//
//   y = step * sum over groups of scale * (sum of x_code * w_code - (2^(b-1) + zero) * sum of x_code)
//
// where w_code is offset, as it lies in memory (layout.h), so that its bytes are unsigned. The sums
// are exact: only the groups are added up in float32.
//
// A few rows of inputs that nobody rounds are split into three bytes, 24 bits below the largest of
// a row, and are three such rows: still faster than making floats of the codes.
#pragma once

#include "dots.h"
#include "kernels.h"
#include "panel_product.h"
#include "rows.h"

#ifdef __AVX2__

namespace sqil {
namespace {

constexpr int kQuads = kBlock / 4;  // dot products of a block
constexpr int kFewCodes = kFew * kPlanes;

// Columns [4 quad, 4 quad + 4) of kLanes rows; `block` is where the first of them lies.
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

// What a group adds to kLanes outputs: scale * (total - offset * inputs) * step.
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

struct Bytes {
  using Sum = ints;
  using Number = int32_t;
  using Inputs = CodeRows;
  static constexpr int kColumns = 4;

  static const char *row_at(const CodeRows &x, int row, int column) {
    return reinterpret_cast<const char *>(x.codes + row * x.stride + column);
  }

  template <int bits>
  static void unpack(const sqil_linear &layer, int tile, int first, int last, int,
                     uint32_t *panel) {
    for (int column = first; column < last; column += kBlock) {
      const uint32_t *block = block_at<bits>(layer, tile, column);
      uint32_t *to = panel + int64_t(column - first) / kColumns * kPanel;
      for (int lane = 0; lane < kTile; lane += kLanes) {
#pragma GCC unroll 8
        for (int quad = 0; quad < kQuads; ++quad) {
          store(to + quad * kPanel + lane, quad_of<bits>(block + lane, quad));
        }
      }
    }
  }

  static ints dot(ints sum, words weights, int32_t inputs) {
    return sqil::dot(sum, weights, inputs);
  }

  class Facts : public PanelFacts {
   public:
    using PanelFacts::PanelFacts;

    void begin_group(const sqil_linear &layer, int row, int tiles, int group) {
      for (int at = 0; at < tiles * kTile; at += kTile) {
        tile_of(layer.scale + group, row + at, layer.rows, layer.groups, scale_ + at);
        offset_of(layer, row + at, group, offset_ + at);
      }
    }

    void add_group(const CodeRows &x, int row, int begin, int end, const int32_t *totals,
                   float *y) const {
      const int32_t *seen = x.sums + row * x.sums_stride;
      const int32_t inputs = seen[end / kBlock] - seen[begin / kBlock];
      for (int at = 0; at < outputs_; at += kLanes) {
        add(group_sum(load(totals + at), inputs, offset_ + at, scale_ + at, x.steps[row]), at,
            begin > 0, y);
      }
    }

   private:
    alignas(64) float offset_[kPanel] = {};
  };
};

// ---- few rows

template <int bits, int R>
void multiply_codes_tile(const sqil_linear &layer, const CodeRows &x, float *y, int64_t y_stride,
                         int tile) {
  // Sums that run beside each other, as many as the registers hold.
  constexpr int kCodeChains = kParts > 1 ? (R == 1 ? 4 : R <= 3 ? 2 : 1) : R <= 3 ? 4 : 2;
  alignas(64) float scale[kTile], offset[kTile], bias[kTile] = {};
  const int row = tile * kTile;
  const int blocks = up_to(layer.columns, kBlock) / kBlock / layer.groups;
  const uint32_t *block = layer.tiles + tile * tile_words(layer.columns, bits);
  if (layer.bias) tile_of(layer.bias, row, layer.rows, 1, bias);
  floats out[R][kParts];
  for (int r = 0; r < R; ++r) {
    for (int part = 0; part < kParts; ++part) out[r][part] = load(bias + part * kLanes);
  }
  for (int group = 0; group < layer.groups; ++group) {
    tile_of(layer.scale + group, row, layer.rows, layer.groups, scale);
    offset_of(layer, row, group, offset);
    ints total[R][kParts][kCodeChains] = {};
    for (int b = 0; b < blocks; ++b, block += bits * kTile) {
      const int8_t *codes = x.codes + int64_t(group * blocks + b) * kBlock;
      for (int line = 0; line < bits; ++line) __builtin_prefetch(block + kAhead + line * kTile);
#pragma GCC unroll 8
      for (int quad = 0; quad < kQuads; ++quad) {
        for (int part = 0; part < kParts; ++part) {
          const words weights = quad_of<bits>(block + part * kLanes, quad);
          for (int r = 0; r < R; ++r) {
            ints &sum = total[r][part][quad % kCodeChains];
            sum = dot(sum, weights, word_at(codes + r * x.stride + quad * 4));
          }
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      const int32_t *seen = x.sums + r * x.sums_stride;
      const int32_t inputs = seen[(group + 1) * blocks] - seen[group * blocks];
      for (int part = 0; part < kParts; ++part) {
        ints all_chains = total[r][part][0];
        for (int chain = 1; chain < kCodeChains; ++chain) all_chains += total[r][part][chain];
        const int at = part * kLanes;
        out[r][part] += group_sum(all_chains, inputs, offset + at, scale + at, x.steps[r]);
      }
    }
  }
  const int outputs = layer.rows - row < kTile ? layer.rows - row : kTile;
  for (int r = 0; r < R; ++r) {
    for (int o = 0; o < outputs; ++o) y[r * y_stride + o] = out[r][o / kLanes][o % kLanes];
  }
}

template <int bits, int R = kFewCodes>
inline void multiply_codes_few(const sqil_linear &layer, const CodeRows &x, int count, float *y,
                               int64_t y_stride, int tile) {
  if (count == R) {
    multiply_codes_tile<bits, R>(layer, x, y, y_stride, tile);
  } else if constexpr (R > 1) {
    multiply_codes_few<bits, R - 1>(layer, x, count, y, y_stride, tile);
  }
}

// ---- both

template <int bits>
void multiply_codes_width(const sqil_linear &layer, const CodeRows &x, int count, float *y,
                          int64_t y_stride, int first, int last) {
  if (count > kFewCodes) {
    return multiply_bunches<Bytes, bits>(layer, x, count, y, y_stride, first, last);
  }
  const int tiles = up_to(layer.rows, kTile) / kTile;
  const int end = last * kPanelTiles < tiles ? last * kPanelTiles : tiles;
  for (int tile = first * kPanelTiles; tile < end; ++tile, y += kTile) {
    multiply_codes_few<bits>(layer, x, count, y, y_stride, tile);
  }
}

// As multiply of product.h, of rounded inputs; the weights have 2 to kWidestCode bits.
void multiply_codes(const sqil_linear &layer, const CodeRows &x, int count, float *y,
                    int64_t y_stride, int first, int last) {
  switch (layer.bits) {
    case 2: return multiply_codes_width<2>(layer, x, count, y, y_stride, first, last);
    case 3: return multiply_codes_width<3>(layer, x, count, y, y_stride, first, last);
    case 4: return multiply_codes_width<4>(layer, x, count, y, y_stride, first, last);
  }
  if constexpr (kWidestCode == 8) {
    multiply_codes_width<8>(layer, x, count, y, y_stride, first, last);
  }
}

// ---- inputs

constexpr int kVectors = kBlock / kLanes;
typedef int8_t bytes_at __attribute__((vector_size(kLanes), aligned(1), may_alias));

// A block of codes from column c on, and what they add to the sum of all before.
inline void put_codes(const CodeRows &to, int row, int c, const ints *code) {
  int8_t *codes = to.codes + row * to.stride + c;
  int32_t *sums = to.sums + row * to.sums_stride + c / kBlock;
  ints total = {};
  for (int v = 0; v < kVectors; ++v) {
    total += code[v];
    *(bytes_at *)(codes + v * kLanes) = __builtin_convertvector(code[v], bytes_at);
  }
  sums[1] = sums[0] + sum(total);
}

// Onto the grid of sqil_ros/quant/activations.py, as in rows.h, but kept as codes.
void round_codes(const float *x, int64_t stride, int count, int width, int bits, float static_step,
                 const CodeRows &to) {
  const float highest = float((1 << (bits - 1)) - 1);
  const int size = up_to(width, kBlock);
  for (int row = 0; row < count; ++row, x += stride) {
    const float step =
        (static_step == 0.0f ? token_step(x, size, highest) : static_step) + unsound(x, size);
    to.sums[row * to.sums_stride] = 0;
    for (int c = 0; c < size; c += kBlock) {
      ints code[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        const floats value = load(x + c + v * kLanes);
        code[v] = __builtin_convertvector(code_of(value, step, highest), ints);
      }
      put_codes(to, row, c, code);
    }
    to.steps[row] = step;
  }
}

// Row r becomes rows 3 r, 3 r + 1 and 3 r + 2, from the highest byte to the lowest.
void split_codes(const float *x, int64_t stride, int count, int width, const CodeRows &to) {
  constexpr float highest = 127.0f * (1 << 16);  // with room for what a quotient is rounded up
  const int size = up_to(width, kBlock);
  for (int row = 0; row < count; ++row, x += stride) {
    const float step = token_step(x, size, highest) + unsound(x, size);
    for (int plane = 0; plane < kPlanes; ++plane) {
      to.steps[row * kPlanes + plane] = step * float(1 << 8 * (kPlanes - 1 - plane));
      to.sums[(row * kPlanes + plane) * to.sums_stride] = 0;
    }
    for (int c = 0; c < size; c += kBlock) {
      ints rest[kVectors], byte[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        rest[v] = nearest(load(x + c + v * kLanes) / step);
      }
      for (int plane = kPlanes - 1; plane >= 0; --plane) {
        for (int v = 0; v < kVectors; ++v) {
          byte[v] = rest[v] << 24 >> 24;
          rest[v] = (rest[v] - byte[v]) >> 8;
        }
        put_codes(to, row * kPlanes + plane, c, byte);
      }
    }
  }
}

}  // namespace
}  // namespace sqil

#endif  // __AVX2__
