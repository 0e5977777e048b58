// SPDX-License-Identifier: Apache-2.0
// One column of a tile as floats, from codes of any width.
#pragma once

#include "lanes.h"

namespace sqil {
namespace {

// Below 2^23 an integer in the mantissa of 2^23 needs no conversion, only a subtraction.
constexpr uint32_t kTwoTo23 = 0x4B000000;

template <int bits>
struct Codes {
#ifdef __AVX512F__
  // Up to 4 bits; a permutation looks at four bits of its index only, so that the codes above need
  // no masking.
  Codes() : table{} {
    if constexpr (bits <= 4) {
      for (int index = 0; index < 16; ++index) {
        table[index] = float(index % (1 << bits) - (1 << (bits - 1)));
      }
    }
  }
  floats table;
#endif

  // Of kLanes rows; `vectors` is where the first of them lies in the block.
  inline floats weight(const uint32_t *vectors, int column) const {
    if constexpr (bits == 32) {
      return (floats)load(vectors + column * kTile);
    } else if constexpr (bits == 16) {
      const words pair = load(vectors + vector_of(16, column) * kTile);
      return (floats)(column % 2 ? pair & 0xFFFF0000u : pair << 16);
    } else if constexpr (bits == 3) {
      const words low = load(vectors + vector_of(2, column) * kTile) >> shift_of(2, column);
      const words high = load(vectors + 2 * kTile);
      const int shift = high_shift_of(column);
      return signed_value((low & 3u) | ((shift < 2 ? high << (2 - shift) : high >> (shift - 2)) & 4u));
    } else {
      const words code = load(vectors + vector_of(bits, column) * kTile) >> shift_of(bits, column);
      return signed_value(code);
    }
  }

 private:
  // Of the low bits of every lane.
  inline floats signed_value(words code) const {
#ifdef __AVX512F__
    if constexpr (bits <= 4) return (floats)_mm512_permutexvar_ps((__m512i)code, (__m512)table);
#endif
    const words mask = words{} + ((1u << bits) - 1);
    return (floats)((code & mask) | kTwoTo23) - float((1 << 23) + (1 << (bits - 1)));
  }
};

}  // namespace
}  // namespace sqil
