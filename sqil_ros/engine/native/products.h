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
  Products(int threads, int count, int width) : threads(threads), rounded_(count, width) {}

  // Rows [first, first + count) of `x`, into the same rows of `y`.
  void operator()(const sqil_linear &layer, const Rows &x, Rows &y, int count, int first = 0) {
    const float *from = x.row(first);
    if (layer.input_bits) {
      kernels().round_inputs(from, x.stride(), count, layer.columns, layer.input_bits,
                             layer.input_step, rounded_.row(0));
      from = rounded_.row(0);
    }
    multiply(layer, from, x.stride(), count, y.row(first), y.stride(), threads);
  }

  int64_t bytes() const { return rounded_.bytes(); }

  const int threads;

 private:
  Rows rounded_;
};

}  // namespace sqil
