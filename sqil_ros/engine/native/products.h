// SPDX-License-Identifier: Apache-2.0
// Products of whole layers, on all threads.
#pragma once

#include <stddef.h>

#include <vector>

#include "bands.h"
#include "engine.h"
#include "kernels.h"
#include "layout.h"
#include "zeros.h"

namespace sqil {

// Rows of activations, each with zeros up to the next block.
class Rows {
 public:
  Rows() = default;
  Rows(int count, int width)
      : stride_(up_to(width, kBlock)), values_(size_t(count) * stride_) {}

  int64_t stride() const { return stride_; }
  float *row(int index) { return values_.data() + index * stride_; }
  const float *row(int index) const { return values_.data() + index * stride_; }
  int64_t bytes() const { return values_.bytes(); }

 private:
  int64_t stride_ = 0;
  Zeros<float> values_;
};

// Bytes between rows of codes: rows a multiple of 4096 apart would push each other out of a cache.
constexpr int64_t code_stride(int columns) { return up_to(columns, kBlock) + 64; }
// Likewise between rows of bfloat16, counted in these.
constexpr int64_t half_stride(int columns) { return up_to(columns, kBlock) + 32; }

// How much longer a product of floats takes than one of codes.
constexpr int kFloatEffort = 3;

// Rounds the inputs of the layers that ask for it.
class Products {
 public:
  // At most `count` rows of `width` inputs.
  Products(int threads, int count, int width)
      : threads(threads),
        most_rows(count),
        most_columns(width),
        rounded_(count, width),
        codes_(code_rows(count) * code_stride(width)),
        halves_(count * half_stride(width)),
        steps_(code_rows(count)),
        sums_(code_rows(count) * (up_to(width, kBlock) / kBlock + 1)) {}

  // Rows [first, first + count) of `x`, into the same rows of `y`.
  // `alone`: they are a token that is computed by itself.
  void operator()(const sqil_linear &layer, const Rows &x, Rows &y, int count, int first = 0,
                  bool alone = false) {
    (*this)(layer, x.row(first), x.stride(), count, y.row(first), y.stride(), alone);
  }

  void operator()(const sqil_linear &layer, const float *x, int64_t x_stride, int count, float *y,
                  int64_t y_stride, bool alone = false) {
    const int input_bits = alone && layer.prompt_only ? 0 : layer.input_bits;
    const Inputs inputs = prepare(layer, input_bits, x, x_stride, count);
    for (const sqil_linear *band = &layer; band; band = band->next) {
      if (!band->bits) fill_band(*band, count, y, y_stride);
    }
    // Few rows take the time of reading the weights, and half a bit's to begin with each; many take
    // that of multiplying.
    const auto effort = [&](const sqil_linear &band) {
      if (count <= kFew) return 2 * band.bits + 1;
      return inputs.as == Kind::codes && !takes_codes(band) ? kFloatEffort : 1;
    };
    share_panels(layer, threads, effort, [&](const sqil_linear &band, int begin, int end) {
      place_panels(band, begin, end, count, y, y_stride,
                   [&](int first, int last, int row, int rows, float *to, int64_t stride) {
                     if (inputs.as == Kind::halves && band.bits <= kWidestHalf) {
                       kernels().multiply_halves(band, from_row(inputs.halves, row), rows, to,
                                                 stride, first, last);
                     } else if (inputs.as == Kind::codes && takes_codes(band)) {
                       kernels().multiply_codes(band, from_row(inputs.codes, row), rows, to,
                                                stride, first, last);
                     } else if (inputs.as == Kind::planes && takes_codes(band)) {
                       multiply_planes(band, inputs.codes, count, to, stride, first, last);
                     } else {
                       kernels().multiply(band, inputs.floats + row * inputs.stride, inputs.stride,
                                          rows, to, stride, first, last);
                     }
                   });
    });
  }

  // Calls `work(first, rows)` until `count` rows are done, on all threads; few are done sooner than
  // another thread wakes.
  template <typename Work>
  void share_rows(int count, Work work) const {
    in_parallel(count <= kFew ? 1 : threads, count,
                [&](int first, int last) { work(first, last - first); });
  }

  int64_t bytes() const {
    return rounded_.bytes() + halves_.bytes() + int64_t(codes_.size()) +
           int64_t(sizeof(int32_t) * (steps_.size() + sums_.size()));
  }

  // Of what there is room for.
  const int threads, most_rows, most_columns;

 private:
  static bool takes_codes(const sqil_linear &band) { return band.bits <= kernels().widest_code; }

  // Few rows may be split into planes.
  static size_t code_rows(int count) {
    const int split = (count < kFew ? count : kFew) * kPlanes;
    return count > split ? count : split;
  }

  // What bands are multiplied with where their width and the processor allow it; floats elsewhere.
  enum class Kind { floats, codes, planes, halves };

  struct Inputs {
    Kind as;
    CodeRows codes;  // or planes
    HalfRows halves;
    const float *floats;
    int64_t stride;
  };

  // Rounds or splits the inputs of a layer once for all its bands.
  Inputs prepare(const sqil_linear &layer, int bits, const float *x, int64_t x_stride, int count) {
    const Kernels &use = kernels();
    const int columns = layer.columns, blocks = up_to(columns, kBlock) / kBlock;
    Inputs found{Kind::floats,
                 {codes_.data(), steps_.data(), sums_.data(), code_stride(columns), blocks + 1},
                 {halves_.data(), half_stride(columns)},
                 x,
                 x_stride};
    const bool few = count <= kFew, rounded = bits == 4 || bits == 8;
    bool any_codes = false, any_floats = false;
    for (const sqil_linear *band = &layer; band; band = band->next) {
      (takes_codes(*band) ? any_codes : any_floats) |= band->bits > 0;
    }
    if (bits == 16 && !few && use.multiply_halves) {
      found.as = Kind::halves;
      share_rows(count, [&](int first, int rows) {
        use.round_halves(x + first * x_stride, x_stride, rows, columns,
                         from_row(found.halves, first));
      });
    } else if (any_codes && rounded) {
      found.as = Kind::codes;
      share_rows(count, [&](int first, int rows) {
        use.round_codes(x + first * x_stride, x_stride, rows, columns, bits, layer.input_step,
                        from_row(found.codes, first));
      });
    } else if (any_codes && few) {
      found.as = Kind::planes;
      use.split_codes(x, x_stride, count, columns, found.codes);
    }
    if (rounded && (any_floats || !any_codes)) {
      found.floats = rounded_.row(0);
      share_rows(count, [&](int first, int rows) {
        use.round_inputs(x + first * x_stride, x_stride, rows, columns, bits, layer.input_step,
                         rounded_.row(0) + first * x_stride);
      });
    }
    return found;
  }

  // Inputs that are split, all rows at once.
  static void multiply_planes(const sqil_linear &band, const CodeRows &x, int count, float *to,
                              int64_t stride, int first, int last) {
    const int width = kernels().panel;
    float planes[kFew * kPlanes * kMostPanel];
    sqil_linear weights = band;
    weights.bias = nullptr;  // once, not in every plane
    for (int panel = first; panel < last; ++panel, to += width) {
      const int begin = panel * width, rest = band.rows - begin;
      kernels().multiply_codes(weights, x, count * kPlanes, planes, width, panel, panel + 1);
      for (int row = 0; row < count; ++row) {
        const float *high = planes + row * kPlanes * width;
        for (int o = 0; o < (rest < width ? rest : width); ++o) {
          const float value = high[o] + (high[width + o] + high[2 * width + o]);
          to[row * stride + o] = value + (band.bias ? band.bias[begin + o] : 0.0f);
        }
      }
    }
  }

  Rows rounded_;
  std::vector<int8_t> codes_;
  Zeros<uint16_t> halves_;
  std::vector<float> steps_;
  std::vector<int32_t> sums_;
};

}  // namespace sqil
