// SPDX-License-Identifier: Apache-2.0
// What happens to rows of activations between two products.
#pragma once

#include "engine.h"
#include "functions.h"

namespace sqil {
namespace {

// (x - mean) / sqrt(variance + epsilon) * weight + bias, or x / sqrt(mean of squares + epsilon)
// * weight where there is no bias.
void normalize(const sqil_norm &norm, float epsilon, const float *x, int64_t stride,
                      int count, int width, float *y) {
  const int whole = width / kLanes * kLanes;
  for (int row = 0; row < count; ++row, x += stride, y += stride) {
    float mean = 0.0f;
    if (norm.bias) {
      floats total = {};
      for (int c = 0; c < whole; c += kLanes) total += load(x + c);
      mean = sum(total);
      for (int c = whole; c < width; ++c) mean += x[c];
      mean /= float(width);
    }
    floats squares = {};
    for (int c = 0; c < whole; c += kLanes) {
      const floats off = load(x + c) - mean;
      squares += off * off;
    }
    float square = sum(squares);
    for (int c = whole; c < width; ++c) square += (x[c] - mean) * (x[c] - mean);
    const float factor = 1.0f / __builtin_sqrtf(square / float(width) + epsilon);
    if (norm.bias) {
      for (int c = 0; c < width; ++c) y[c] = (x[c] - mean) * factor * norm.weight[c] + norm.bias[c];
    } else {
      for (int c = 0; c < width; ++c) y[c] = x[c] * factor * norm.weight[c];
    }
  }
}

// `size` floats, a multiple of kBlock; all of these leave zeros zeros.
void apply_gelu(float *x, int64_t size) {
  for (int64_t i = 0; i < size; i += kLanes) store(x + i, gelu(load(x + i)));
}

void apply_gelu_tanh(float *x, int64_t size) {
  for (int64_t i = 0; i < size; i += kLanes) store(x + i, gelu_tanh(load(x + i)));
}

// gate = silu(gate) * up
void apply_gate(float *gate, const float *up, int64_t size) {
  for (int64_t i = 0; i < size; i += kLanes) {
    const floats x = load(gate + i);
    store(gate + i, x * sigmoid(x) * load(up + i));
  }
}

// x += gain * change; without a gain x += change.
void add(float *x, const float *change, const float *gain, int64_t stride, int count,
                int width) {
  for (int row = 0; row < count; ++row, x += stride, change += stride) {
    if (gain) {
      for (int c = 0; c < width; ++c) x[c] += gain[c] * change[c];
    } else {
      for (int c = 0; c < width; ++c) x[c] += change[c];
    }
  }
}

// The sum of so many words, by the widest loads.
uint32_t read(const uint32_t *from, int64_t count) {
  words total[4] = {};
  int64_t at = 0;
  for (; at + 4 * kLanes <= count; at += 4 * kLanes) {
    for (int chain = 0; chain < 4; ++chain) total[chain] += load(from + at + chain * kLanes);
  }
  const words all_chains = total[0] + total[1] + total[2] + total[3];
  uint32_t found = 0;
  for (int lane = 0; lane < kLanes; ++lane) found += all_chains[lane];
  for (; at < count; ++at) found += from[at];
  return found;
}

// The step of one token's inputs, with which their largest magnitude is the largest code.
inline float token_step(const float *x, int size, float highest) {
  floats peak = {};
  for (int c = 0; c < size; c += kLanes) {
    const floats value = load(x + c);
    peak = larger(peak, value < 0.0f ? -value : value);
  }
  const float step = largest(peak) / highest;
  return step > __FLT_MIN__ ? step : 1.0f;
}

// 0, or NaN where an input is no finite number: a row that holds one shall not look sound.
inline float unsound(const float *x, int size) {
  floats total = {};
  for (int c = 0; c < size; c += kLanes) total += load(x + c) * 0.0f;
  return sum(total);
}

// Clipping first gives the same code, as both ends are integers, and keeps rounding exact.
inline floats code_of(floats x, float step, float highest) {
  return round_to_even(smaller(larger(x / step, all(-highest - 1.0f)), all(highest)));
}

// Onto the grid of sqil_ros/quant/activations.py: ties to even, beyond the ends clipped.
void round_inputs(const float *x, int64_t stride, int count, int width, int bits,
                         float static_step, float *y) {
  const float highest = float((1 << (bits - 1)) - 1);
  const int size = up_to(width, kBlock);
  for (int row = 0; row < count; ++row, x += stride, y += stride) {
    const float step =
        (static_step == 0.0f ? token_step(x, size, highest) : static_step) + unsound(x, size);
    for (int c = 0; c < size; c += kLanes) {
      store(y + c, code_of(load(x + c), step, highest) * step);
    }
  }
}

// Rotary embedding in place: (count, heads, width), pairs are the halves of a head.
void rotate(float *x, int64_t stride, int count, int heads, int width, const float *cosine,
                   const float *sine) {
  const int half = width / 2;
  for (int row = 0; row < count; ++row, cosine += half, sine += half) {
    for (int head = 0; head < heads; ++head) {
      float *first = x + row * stride + head * width;
      float *second = first + half;
      for (int c = 0; c < half; ++c) {
        const float a = first[c], b = second[c];
        first[c] = a * cosine[c] - b * sine[c];
        second[c] = b * cosine[c] + a * sine[c];
      }
    }
  }
}

}  // namespace
}  // namespace sqil
