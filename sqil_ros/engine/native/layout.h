// SPDX-License-Identifier: Apache-2.0
// How weights lie in memory: tiles of 16 output rows, blocks of 32 input columns.
//
// A block holds `bits` vectors of 16 words of 32 bits, one word for each row, so that one vector
// load brings the same columns of 16 rows. Codes are offset (code + 2^(bits-1)). In a word they are
// dealt out to the four bytes first: masking a shifted word leaves four neighbouring columns in
// four bytes, the operand of an 8-bit dot product.
//
//   2, 4, 8 bits  column c sits in vector c / per, byte c % 4, bit (c % per) / 4 * bits; per = 32 / bits
//   3 bits        low two bits as above in vectors 0 and 1, high bits in vector 2: byte c % 4, bit c / 4
//   16 bits       bfloat16, column c in vector c / 2, half c % 2
//   32 bits       float32, column c in vector c
//
// Rows and columns are filled up to whole tiles and blocks with weights of zero.
#pragma once

#include <stdint.h>

namespace sqil {

constexpr int kTile = 16;
constexpr int kBlock = 32;

static constexpr int up_to(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

static constexpr int vector_of(int bits, int column) { return column / (32 / bits); }

static constexpr int shift_of(int bits, int column) {
  return bits == 16 ? 16 * (column % 2) : 8 * (column % 4) + column % (32 / bits) / 4 * bits;
}

// Of the high bit of 3.
static constexpr int high_shift_of(int column) { return 8 * (column % 4) + column / 4; }

static constexpr int64_t tile_words(int columns, int bits) {
  return int64_t(up_to(columns, kBlock)) / kBlock * bits * kTile;
}

}  // namespace sqil
