// SPDX-License-Identifier: Apache-2.0
// Inputs rounded to bfloat16 times weights, two columns at a time, many rows of inputs.
//
//   y = sum over groups of scale * sum of x * (w_code - zero)
//
// A code less its zero point is an integer of at most 8 bits and a sign, which bfloat16 holds
// exactly; sums are float32.
#pragma once

#include "codes.h"
#include "kernels.h"
#include "panel_product.h"

#ifdef __AVX512BF16__

namespace sqil {
namespace {

struct Halves {
  using Sum = floats;
  using Number = float;
  using Inputs = HalfRows;
  static constexpr int kColumns = 2;

  static const char *row_at(const HalfRows &x, int row, int column) {
    return reinterpret_cast<const char *>(x.halves + row * x.stride + column);
  }

  template <int bits>
  static void unpack(const sqil_linear &layer, int tile, int first, int last, int group,
                     uint32_t *panel) {
    const Codes<bits> codes;
    alignas(64) float zero[kTile] = {};
    if (bits <= 8 && layer.zero) {
      tile_of(layer.zero + group, tile * kTile, layer.rows, layer.groups, zero);
    }
    for (int column = first; column < last; column += kBlock) {
      const uint32_t *block = block_at<bits>(layer, tile, column);
      uint32_t *to = panel + int64_t(column - first) / kColumns * kPanel;
#pragma GCC unroll 16
      for (int pair = 0; pair < kBlock / kColumns; ++pair) {
        if constexpr (bits == 16) {
          store(to + pair * kPanel, load(block + pair * kTile));
        } else {
          const floats low = codes.weight(block, 2 * pair) - load(zero);
          const floats high = codes.weight(block, 2 * pair + 1) - load(zero);
          store(to + pair * kPanel, (words)high | (words)low >> 16);
        }
      }
    }
  }

  static floats dot(floats sum, words weights, int32_t inputs) {
    return (floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)weights,
                                    (__m512bh)_mm512_set1_epi32(inputs));
  }

  struct Facts : PanelFacts {
    using PanelFacts::PanelFacts;

    void begin_group(const sqil_linear &layer, int row, int tiles, int group) {
      if (!layer.scale) {
        for (float &scale : scale_) scale = 1.0f;
        return;
      }
      for (int at = 0; at < tiles * kTile; at += kTile) {
        tile_of(layer.scale + group, row + at, layer.rows, layer.groups, scale_ + at);
      }
    }

    void add_group(const HalfRows &, int, int begin, int, const float *totals, float *y) const {
      for (int at = 0; at < outputs_; at += kLanes) {
        add(load(totals + at) * load(scale_ + at), at, begin > 0, y);
      }
    }
  };
};

// As multiply of product.h; the weights have 2 to kWidestHalf bits.
void multiply_halves(const sqil_linear &layer, const HalfRows &x, int count, float *y,
                     int64_t y_stride, int first, int last) {
  switch (layer.bits) {
    case 2: return multiply_bunches<Halves, 2>(layer, x, count, y, y_stride, first, last);
    case 3: return multiply_bunches<Halves, 3>(layer, x, count, y, y_stride, first, last);
    case 4: return multiply_bunches<Halves, 4>(layer, x, count, y, y_stride, first, last);
    case 8: return multiply_bunches<Halves, 8>(layer, x, count, y, y_stride, first, last);
    default: return multiply_bunches<Halves, 16>(layer, x, count, y, y_stride, first, last);
  }
}

// To the nearest, ties to even.
void round_halves(const float *x, int64_t stride, int count, int width, const HalfRows &to) {
  const int size = up_to(width, kBlock);
  for (int row = 0; row < count; ++row, x += stride) {
    for (int c = 0; c < size; c += kBlock) {
      const __m512bh pair = _mm512_cvtne2ps_pbh((__m512)load(x + c + kLanes), (__m512)load(x + c));
      *(words_at *)(to.halves + row * to.stride + c) = (words)pair;
    }
  }
}

}  // namespace
}  // namespace sqil

#endif  // __AVX512BF16__
