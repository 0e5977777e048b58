// SPDX-License-Identifier: Apache-2.0
// The kernels of one instruction set as a table; kernels.cpp is compiled once for each.
#pragma once

#include "engine.h"

namespace sqil {

// Of any instruction set.
constexpr int kMostQueryRows = 12;
constexpr int kMostPanel = 32;
constexpr int kFew = 2;     // rows for which decoding anew is cheaper than writing a panel
constexpr int kPlanes = 3;  // bytes of an input that is split
constexpr int kWidestHalf = 16;  // bits of the weights that `multiply_halves` takes

// Rounded activations: x = step * code.
struct CodeRows {
  int8_t *codes;        // a row every `stride` bytes, zeros up to the next block
  float *steps;         // of each row
  int32_t *sums;        // of the codes before every block, a row every `sums_stride` words
  int64_t stride;
  int64_t sums_stride;
};

inline CodeRows from_row(const CodeRows &x, int row) {
  return {x.codes + row * x.stride, x.steps + row, x.sums + row * x.sums_stride, x.stride,
          x.sums_stride};
}

// Activations rounded to bfloat16.
struct HalfRows {
  uint16_t *halves;  // a row every `stride`, zeros up to the next block
  int64_t stride;
};

inline HalfRows from_row(const HalfRows &x, int row) {
  return {x.halves + row * x.stride, x.stride};
}

// Keys and values of one head: keys are (width, room), values (tokens, up_to(width, kTile)), panels
// of the product with many rows.
struct HeadMemory {
  void *keys, *values;
  int64_t room;
  int bits;  // 32, or 16 for bfloat16
};

// The functions are described where they are defined: product.h, rows.h, attention.h,
// codes_product.h, halves_product.h. Null is what the instruction set has no products for.
struct Kernels {
  const char *name;
  int panel;       // outputs of the unit that `multiply` counts in
  int query_rows;  // rows of scores that `attend` needs room for
  void (*multiply)(const sqil_linear &layer, const float *x, int64_t x_stride, int count, float *y,
                   int64_t y_stride, int first, int last);
  void (*normalize)(const sqil_norm &norm, float epsilon, const float *x, int64_t stride,
                    int count, int width, float *y);
  void (*apply_gelu)(float *x, int64_t size);
  void (*apply_gelu_tanh)(float *x, int64_t size);
  void (*apply_gate)(float *gate, const float *up, int64_t size);
  void (*add)(float *x, const float *change, const float *gain, int64_t stride, int count,
              int width);
  void (*round_inputs)(const float *x, int64_t stride, int count, int width, int bits,
                       float static_step, float *y);
  void (*rotate)(float *x, int64_t stride, int count, int heads, int width, const float *cosine,
                 const float *sine);
  void (*attend)(const float *queries, int64_t query_stride, int count, const HeadMemory &memory,
                 int seen, int width, bool causal, float *scores, float *y, int64_t y_stride);
  void (*remember)(const float *keys, const float *values, int64_t stride, int count, int width,
                   int first, const HeadMemory &memory);
  uint32_t (*read)(const uint32_t *words, int64_t count);
  int widest_code;  // bits of the weights that `multiply_codes` takes, 0 where it is missing
  void (*round_codes)(const float *x, int64_t stride, int count, int width, int bits,
                      float static_step, const CodeRows &to);
  void (*split_codes)(const float *x, int64_t stride, int count, int width, const CodeRows &to);
  void (*multiply_codes)(const sqil_linear &layer, const CodeRows &x, int count, float *y,
                         int64_t y_stride, int first, int last);
  void (*round_halves)(const float *x, int64_t stride, int count, int width, const HalfRows &to);
  void (*multiply_halves)(const sqil_linear &layer, const HalfRows &x, int count, float *y,
                          int64_t y_stride, int first, int last);
};

extern const Kernels kPortable;
#ifdef SQIL_X86
extern const Kernels kAvx2;
extern const Kernels kAvxVnni;
extern const Kernels kAvx512;
extern const Kernels kAvx512Vnni;
extern const Kernels kAvx512Bf16;
#endif

// The best that this machine runs, or what was chosen.
const Kernels &kernels();

}  // namespace sqil
