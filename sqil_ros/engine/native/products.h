// SPDX-License-Identifier: Apache-2.0
// Products of whole layers, on all threads.
#pragma once

#include <stddef.h>

#include <vector>

#include "engine.h"
#include "kernels.h"
#include "layout.h"
#include "pool.h"

namespace sqil {

// Rows of activations, each with zeros up to the next block.
class Rows {
 public:
  Rows() = default;
  Rows(int count, int width)
      : stride_(up_to(width, kBlock)), values_(size_t(count) * stride_, 0.0f) {}

  int64_t stride() const { return stride_; }
  float *row(int index) { return values_.data() + index * stride_; }
  const float *row(int index) const { return values_.data() + index * stride_; }
  int64_t bytes() const { return int64_t(values_.size() * sizeof(float)); }

 private:
  int64_t stride_ = 0;
  std::vector<float> values_;
};

inline void multiply(const sqil_linear &layer, const float *x, int64_t x_stride, int count,
                     float *y, int64_t y_stride, int threads) {
  const Kernels &use = kernels();
  const int panels = (layer.rows + use.panel - 1) / use.panel;
  in_parallel(threads, panels, [&](int first, int last) {
    use.multiply(layer, x, x_stride, count, y, y_stride, first, last);
  });
}

// Rounds the inputs of the layers that ask for it.
class Products {
 public:
  // At most `count` rows of `width` inputs.
  Products(int threads, int count, int width)
      : threads(threads),
        rounded_(count, width),
        codes_(size_t(count) * up_to(width, kBlock)),
        steps_(count),
        sums_(size_t(count) * (up_to(width, kBlock) / kBlock + 1)) {}

  // Rows [first, first + count) of `x`, into the same rows of `y`.
  void operator()(const sqil_linear &layer, const Rows &x, Rows &y, int count, int first = 0) {
    (*this)(layer, x.row(first), x.stride(), count, y.row(first), y.stride());
  }

  void operator()(const sqil_linear &layer, const float *x, int64_t x_stride, int count, float *y,
                  int64_t y_stride) {
    const Kernels &use = kernels();
    if (!layer.input_bits) {
      multiply(layer, x, x_stride, count, y, y_stride, threads);
    } else if (use.multiply_codes && layer.bits <= 8) {
      const int width = up_to(layer.columns, kBlock);
      const CodeRows rows{codes_.data(), steps_.data(), sums_.data(), width, width / kBlock + 1};
      use.round_codes(x, x_stride, count, layer.columns, layer.input_bits, layer.input_step, rows);
      in_parallel(threads, (layer.rows + use.panel - 1) / use.panel, [&](int begin, int end) {
        use.multiply_codes(layer, rows, count, y, y_stride, begin, end);
      });
    } else {
      use.round_inputs(x, x_stride, count, layer.columns, layer.input_bits, layer.input_step,
                       rounded_.row(0));
      multiply(layer, rounded_.row(0), x_stride, count, y, y_stride, threads);
    }
  }

  int64_t bytes() const {
    return rounded_.bytes() + int64_t(codes_.size()) +
           int64_t(sizeof(int32_t) * (steps_.size() + sums_.size()));
  }

  const int threads;

 private:
  Rows rounded_;
  std::vector<int8_t> codes_;
  std::vector<float> steps_;
  std::vector<int32_t> sums_;
};

}  // namespace sqil
