// SPDX-License-Identifier: Apache-2.0
// Attention of one head: keys and values are panels of the product with many rows.
#pragma once

#include "functions.h"
#include "kernels.h"
#include "product.h"

namespace sqil {
namespace {

static_assert(kRows <= kMostQueryRows, "callers make room for as many rows of scores");

// Chances from `count` scores in place; what follows up to `size` becomes zero.
void softmax(float *scores, int count, int size, float factor) {
  for (int c = count; c < up_to(count, kLanes); ++c) scores[c] = -__builtin_inff();
  floats most = all(-__builtin_inff());
  for (int c = 0; c < count; c += kLanes) most = larger(most, load(scores + c));
  const float peak = largest(most);
  floats totals = {};
  for (int c = 0; c < count; c += kLanes) {
    const floats chance = exponential((load(scores + c) - peak) * factor);
    totals += chance;
    store(scores + c, chance);
  }
  const float share = 1.0f / sum(totals);
  for (int c = 0; c < count; c += kLanes) store(scores + c, load(scores + c) * share);
  for (int c = count; c < size; ++c) scores[c] = 0.0f;
}

// `queries` and `y` are (count, width); `keys` is (width, seen) with rows of `room` floats;
// `values` is (seen, width) with rows of up_to(width, kTile) floats. A causal query sees the keys
// up to its own, the last `count` of them being those of the queries. `scores` has room for kRows
// rows of up_to(seen, kTile) floats.
void attend(const float *queries, int64_t query_stride, int count, const float *keys,
                   int64_t room, const float *values, int seen, int width, bool causal,
                   float *scores, float *y, int64_t y_stride) {
  static const float kNothing[kPanel] = {};
  const int size = up_to(seen, kTile);
  const int value_stride = up_to(width, kTile);
  const float factor = 1.0f / __builtin_sqrtf(float(width));
  for (int first = 0; first < count; first += kRows) {
    const int rows = count - first < kRows ? count - first : kRows;
    const float *x = queries + first * query_stride;
    for (int key = 0; key < seen; key += kPanel) {
      const int outputs = seen - key < kPanel ? seen - key : kPanel;
      multiply_panel(x, query_stride, rows, keys + key, room, width, kNothing, 0, scores + key,
                     size, outputs);
    }
    for (int r = 0; r < rows; ++r) {
      softmax(scores + r * size, causal ? seen - count + first + r + 1 : seen, size, factor);
    }
    for (int c = 0; c < width; c += kPanel) {
      const int outputs = width - c < kPanel ? width - c : kPanel;
      multiply_panel(scores, size, rows, values + c, value_stride, seen, kNothing, 0,
                     y + first * y_stride + c, y_stride, outputs);
    }
  }
}

// (count, width) keys of one head into columns [first, first + count) of its (width, room) panel.
void store_keys(const float *from, int64_t stride, int count, int width, int first,
                       int64_t room, float *keys) {
  for (int row = 0; row < count; ++row) {
    for (int c = 0; c < width; ++c) keys[c * room + first + row] = from[row * stride + c];
  }
}

void store_values(const float *from, int64_t stride, int count, int width, int first,
                         float *values) {
  const int room = up_to(width, kTile);
  for (int row = 0; row < count; ++row) {
    for (int c = 0; c < width; ++c) values[int64_t(first + row) * room + c] = from[row * stride + c];
  }
}

}  // namespace
}  // namespace sqil
