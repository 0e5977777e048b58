// SPDX-License-Identifier: Apache-2.0
// Rows of one layer that have one width: who computes them, and where their outputs belong.
#pragma once

#include "engine.h"
#include "kernels.h"
#include "pool.h"

namespace sqil {

// Rows of activations whose outputs wait to be put in their places.
constexpr int kWaiting = 512;

inline int outputs_of(const sqil_linear &layer) {
  int total = 0;
  for (const sqil_linear *band = &layer; band; band = band->next) total += band->rows;
  return total;
}

inline int panels_of(const sqil_linear &band) {
  const int width = kernels().panel;
  return (band.rows + width - 1) / width;
}

// Calls `compute(band, first panel, end)` until all panels of a layer are done, on all threads;
// each gets as much work, of which a panel of a band is `effort(band)`, at least 1.
template <typename Effort, typename Compute>
void share_panels(const sqil_linear &layer, int threads, Effort effort, Compute compute) {
  int total = 0;
  for (const sqil_linear *band = &layer; band; band = band->next) {
    if (band->bits) total += panels_of(*band) * effort(*band);
  }
  in_parallel(threads, total, [&](int first, int last) {
    for (const sqil_linear *band = &layer; band; band = band->next) {
      if (!band->bits) continue;
      const int panels = panels_of(*band), each = effort(*band);
      // A panel belongs to whom its beginning belongs to.
      const auto bound = [&](int at) {
        const int panel = at > 0 ? (at + each - 1) / each : 0;
        return panel < panels ? panel : panels;
      };
      const int begin = bound(first), end = bound(last);
      if (begin < end) compute(*band, begin, end);
      first -= panels * each;
      last -= panels * each;
    }
  });
}

// Lets `product(first panel, end, first row, rows, where the first output goes, stride)` compute
// panels [first, last) of a band for `count` rows, and puts the outputs in their places.
template <typename Product>
void place_panels(const sqil_linear &band, int first, int last, int count, float *y,
                  int64_t y_stride, Product product) {
  static_assert(kWaiting * kMostPanel * sizeof(float) <= 1 << 16, "lies on a thread's stack");
  const int width = kernels().panel;
  if (!band.places) return product(first, last, 0, count, y + first * width, y_stride);
  float waiting[kWaiting * kMostPanel];
  for (int panel = first; panel < last; ++panel) {
    const int32_t *places = band.places + panel * width;
    const int rest = band.rows - panel * width, outputs = rest < width ? rest : width;
    for (int begin = 0; begin < count; begin += kWaiting) {
      const int rows = count - begin < kWaiting ? count - begin : kWaiting;
      product(panel, panel + 1, begin, rows, waiting, width);
      for (int row = 0; row < rows; ++row) {
        float *to = y + (begin + row) * y_stride;
        for (int o = 0; o < outputs; ++o) to[places[o]] = waiting[row * width + o];
      }
    }
  }
}

// Outputs of a band without weights.
inline void fill_band(const sqil_linear &band, int count, float *y, int64_t y_stride) {
  for (int row = 0; row < count; ++row, y += y_stride) {
    for (int o = 0; o < band.rows; ++o) {
      y[band.places ? band.places[o] : o] = band.bias ? band.bias[o] : 0.0f;
    }
  }
}

}  // namespace sqil
