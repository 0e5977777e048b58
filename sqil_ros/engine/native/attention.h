// SPDX-License-Identifier: Apache-2.0
// Attention of one head: keys and values are panels of the product with many rows.
#pragma once

#include "functions.h"
#include "kernels.h"
#include "product.h"

namespace sqil {
namespace {

static_assert(kRows <= kMostQueryRows, "callers make room for as many rows of scores");

const float kNothing[kPanel] = {};

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

// y = x @ panel for `outputs` columns, as `multiply_panel`.
void multiply_stored(const float *x, int64_t x_stride, int rows, const float *panel,
                     int64_t panel_stride, int columns, float *y, int64_t y_stride, int outputs) {
  multiply_panel(x, x_stride, rows, panel, panel_stride, columns, kNothing, 0, y, y_stride,
                 outputs);
}

void multiply_stored(const float *x, int64_t x_stride, int rows, const uint16_t *panel,
                     int64_t panel_stride, int columns, float *y, int64_t y_stride, int outputs) {
  alignas(64) float wide[kChunk * kPanel];
  for (int first = 0; first < columns; first += kChunk) {
    const int chunk = columns - first < kChunk ? columns - first : kChunk;
    for (int c = 0; c < chunk; ++c) {
      const uint16_t *from = panel + (first + c) * panel_stride;
      for (int o = 0; o < up_to(outputs, kTile); o += kLanes) {
        store(wide + c * kPanel + o, load(from + o));
      }
    }
    const bool begun = first > 0;
    multiply_panel(x + first, x_stride, rows, wide, kPanel, chunk, begun ? y : kNothing,
                   begun ? y_stride : 0, y, y_stride, outputs);
  }
}

template <typename Number>
void attend_stored(const float *queries, int64_t query_stride, int count, const Number *keys,
                   int64_t room, const Number *values, int seen, int width, bool causal,
                   float *scores, float *y, int64_t y_stride) {
  const int value_stride = up_to(width, kTile);
  const float factor = 1.0f / __builtin_sqrtf(float(width));
  for (int first = 0; first < count; first += kRows) {
    const int rows = count - first < kRows ? count - first : kRows;
    // Keys that at least one of these queries sees.
    const int keys_seen = causal ? seen - count + first + rows : seen;
    const int size = up_to(keys_seen, kTile);
    const float *x = queries + first * query_stride;
    for (int key = 0; key < keys_seen; key += kPanel) {
      const int outputs = keys_seen - key < kPanel ? keys_seen - key : kPanel;
      multiply_stored(x, query_stride, rows, keys + key, room, width, scores + key, size, outputs);
    }
    for (int r = 0; r < rows; ++r) {
      softmax(scores + r * size, causal ? seen - count + first + r + 1 : seen, size, factor);
    }
    for (int c = 0; c < width; c += kPanel) {
      const int outputs = width - c < kPanel ? width - c : kPanel;
      multiply_stored(scores, size, rows, values + c, value_stride, keys_seen,
                      y + first * y_stride + c, y_stride, outputs);
    }
  }
}

// `queries` and `y` are (count, width). A causal query sees the keys up to its own, the last `count`
// of `seen` being those of the queries. `y` may be `queries`. `scores` has room for kRows rows of
// up_to(seen, kTile) floats.
void attend(const float *queries, int64_t query_stride, int count, const HeadMemory &memory,
            int seen, int width, bool causal, float *scores, float *y, int64_t y_stride) {
  if (memory.bits == 16) {
    attend_stored(queries, query_stride, count, (const uint16_t *)memory.keys, memory.room,
                  (const uint16_t *)memory.values, seen, width, causal, scores, y, y_stride);
  } else {
    attend_stored(queries, query_stride, count, (const float *)memory.keys, memory.room,
                  (const float *)memory.values, seen, width, causal, scores, y, y_stride);
  }
}

inline void put(float value, float *to) { *to = value; }

// To the nearest bfloat16, of two as near the even one.
inline void put(float value, uint16_t *to) {
  union {
    float number;
    uint32_t word;
  } both = {value};
  const uint32_t odd = both.word >> 16 & 1u;
  *to = value != value ? 0x7FC0u : uint16_t((both.word + 0x7FFFu + odd) >> 16);
}

template <typename Number>
void store_tokens(const float *keys, const float *values, int64_t stride, int count, int width,
                  int first, int64_t room, Number *to_keys, Number *to_values) {
  const int value_stride = up_to(width, kTile);
  for (int row = 0; row < count; ++row, keys += stride, values += stride) {
    for (int c = 0; c < width; ++c) put(keys[c], to_keys + c * room + first + row);
    for (int c = 0; c < width; ++c) put(values[c], to_values + (first + row) * value_stride + c);
  }
}

// (count, width) keys and values of one head, of the tokens from `first` on.
void remember(const float *keys, const float *values, int64_t stride, int count, int width,
              int first, const HeadMemory &memory) {
  if (memory.bits == 16) {
    store_tokens(keys, values, stride, count, width, first, memory.room, (uint16_t *)memory.keys,
                 (uint16_t *)memory.values);
  } else {
    store_tokens(keys, values, stride, count, width, first, memory.room, (float *)memory.keys,
                 (float *)memory.values);
  }
}

}  // namespace
}  // namespace sqil
