// SPDX-License-Identifier: Apache-2.0
// Four columns of a tile times four inputs, all as bytes, added up exactly.
//
// With VNNI (of AVX-512, or of the processors that have it with vectors of 256 bits) that is one
// instruction. Older ones add two neighbouring products as an integer of 16 bits first, which has
// no room for those of 8-bit weights.
#pragma once

#include "lanes.h"

#ifdef __AVX2__

namespace sqil {
namespace {

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr int kWidestCode = 8;  // bits of a weight
#else
constexpr int kWidestCode = 4;
#endif

// total + weights * inputs, of unsigned and of signed bytes.
inline ints dot(ints total, words weights, int32_t inputs) {
#if defined(__AVX512VNNI__)
  return (ints)_mm512_dpbusd_epi32((__m512i)total, (__m512i)weights, _mm512_set1_epi32(inputs));
#elif defined(__AVXVNNI__)
  return (ints)_mm256_dpbusd_avx_epi32((__m256i)total, (__m256i)weights,
                                       _mm256_set1_epi32(inputs));
#elif defined(__AVX512F__)
  const __m512i pairs = _mm512_maddubs_epi16((__m512i)weights, _mm512_set1_epi32(inputs));
  return total + (ints)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
#else
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)weights, _mm256_set1_epi32(inputs));
  return total + (ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#endif
}

// Of all lanes.
inline int32_t sum(ints value) {
#ifdef __AVX512F__
  return _mm512_reduce_add_epi32((__m512i)value);
#else
  int32_t total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += value[lane];
  return total;
#endif
}

// To the nearest integer, ties to even.
inline ints nearest(floats x) {
#ifdef __AVX512F__
  return (ints)_mm512_cvtps_epi32((__m512)x);
#else
  return (ints)_mm256_cvtps_epi32((__m256)x);
#endif
}

}  // namespace
}  // namespace sqil

#endif  // __AVX2__
