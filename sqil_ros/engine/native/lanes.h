// SPDX-License-Identifier: Apache-2.0
// Vectors as wide as the instruction set that this file is compiled for.
//
// The kernels are compiled once for each instruction set. What they include therefore lies in
// unnamed namespaces and takes nothing from the standard library but types: of an inline function
// whose name all objects share only one copy is kept, perhaps one that this machine cannot run.
#pragma once

#include <stdint.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "layout.h"

namespace sqil {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int kParts = kTile / kLanes;  // vectors of a tile

typedef float floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t ints __attribute__((vector_size(4 * kLanes)));
typedef uint32_t words __attribute__((vector_size(4 * kLanes)));

// Memory of any alignment.
typedef float floats_at __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int32_t ints_at __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef uint32_t words_at __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef uint16_t halves_at __attribute__((vector_size(2 * kLanes), aligned(2), may_alias));

inline floats load(const float *from) { return *(const floats_at *)from; }
inline ints load(const int32_t *from) { return *(const ints_at *)from; }
inline words load(const uint32_t *from) { return *(const words_at *)from; }
// Of bfloat16.
inline floats load(const uint16_t *from) {
  return (floats)(__builtin_convertvector(*(const halves_at *)from, words) << 16);
}
inline void store(float *to, floats value) { *(floats_at *)to = value; }
inline void store(int32_t *to, ints value) { *(ints_at *)to = value; }
inline void store(uint32_t *to, words value) { *(words_at *)to = value; }
inline floats all(float value) { return value - floats{}; }

inline floats larger(floats a, floats b) { return a > b ? a : b; }
inline floats smaller(floats a, floats b) { return a < b ? a : b; }

inline float sum(floats value) {
  float total = 0.0f;
  for (int lane = 0; lane < kLanes; ++lane) total += value[lane];
  return total;
}

inline float largest(floats value) {
  float most = value[0];
  for (int lane = 1; lane < kLanes; ++lane) most = value[lane] > most ? value[lane] : most;
  return most;
}

}  // namespace
}  // namespace sqil
