// SPDX-License-Identifier: Apache-2.0
// Exponential and what is made of it, to about 1e-7.
#pragma once

#include "lanes.h"

namespace sqil {
namespace {

inline floats round_to_even(floats x) {
  const floats big = all(12582912.0f);  // 1.5 * 2^23: no fraction bits are left
  return (x + big) - big;
}

// exp(x) within [-60, 60], 0 below and exp(60) above: both are nothing, or all, beside a 1, and
// what is computed from them stays clear of denormal numbers, which cost a hundred times as much.
inline floats exponential(floats given) {
  const floats x = smaller(larger(given, all(-60.0f)), all(60.0f));
  const floats n = round_to_even(x * 1.44269504088896341f);
  // ln 2 in two parts, so that the remainder keeps its last bits.
  const floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  floats p = all(1.0f / 5040.0f);
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const floats value = (floats)((ints)p + (__builtin_convertvector(n, ints) << 23));
  return given < -60.0f ? floats{} : value;
}

// x * P(normal < x), by the error function of Abramowitz and Stegun 7.1.26 (error 1.5e-7).
inline floats gelu(floats x) {
  const floats magnitude = (x < 0.0f ? -x : x) * 0.70710678118654752f;
  const floats t = 1.0f / (1.0f + 0.3275911f * magnitude);
  floats p = all(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const floats tail = 0.5f * p * t * exponential(-magnitude * magnitude);
  return x * (x < 0.0f ? tail : 1.0f - tail);
}

inline floats sigmoid(floats x) { return 1.0f / (1.0f + exponential(-x)); }

// GELU's tanh approximation: (1 + tanh z) / 2 is the logistic function of 2 z.
inline floats gelu_tanh(floats x) {
  return x * sigmoid(1.5957691216057308f * (x + 0.044715f * x * x * x));
}

}  // namespace
}  // namespace sqil
