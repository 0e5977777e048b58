// SPDX-License-Identifier: Apache-2.0
// Weights into tiles and back; see layout.h.
#include "layout.h"

#include <string.h>

#include "engine.h"

namespace sqil {
namespace {

void put(uint32_t *block, int row, int column, int bits, uint32_t code) {
  if (bits == 32) {
    block[column * kTile + row] = code;
  } else if (bits == 3) {
    put(block, row, column, 2, code & 3);
    block[2 * kTile + row] |= (code >> 2) << high_shift_of(column);
  } else {
    block[vector_of(bits, column) * kTile + row] |= code << shift_of(bits, column);
  }
}

uint32_t get(const uint32_t *block, int row, int column, int bits) {
  if (bits == 3) {
    const uint32_t high = block[2 * kTile + row] >> high_shift_of(column) & 1;
    return get(block, row, column, 2) | high << 2;
  }
  return block[vector_of(bits, column) * kTile + row] >> shift_of(bits, column) &
         ((1u << bits) - 1);
}

// Start of the block that holds a weight.
int64_t block_at(int row, int column, int columns, int bits) {
  return row / kTile * tile_words(columns, bits) + int64_t(column) / kBlock * bits * kTile;
}

// `code_at(row, column)` for every place of the padded matrix.
template <typename CodeAt>
void fill(uint32_t *tiles, int rows, int columns, int bits, CodeAt code_at) {
  memset(tiles, 0, sizeof(uint32_t) * sqil_tile_words(rows, columns, bits));
  for (int row = 0; row < up_to(rows, kTile); ++row) {
    for (int column = 0; column < up_to(columns, kBlock); ++column) {
      put(tiles + block_at(row, column, columns, bits), row % kTile, column % kBlock, bits,
          code_at(row, column));
    }
  }
}

// Bytes of a portable row: a little-endian stream of codes in whole words.
int64_t row_bytes(int columns, int bits) { return (int64_t(columns) * bits + 31) / 32 * 4; }

uint32_t bits_of(float value) {
  uint32_t word;
  memcpy(&word, &value, sizeof word);
  return word;
}

}  // namespace
}  // namespace sqil

using namespace sqil;

int64_t sqil_tile_words(int32_t rows, int32_t columns, int32_t bits) {
  const bool known = bits == 2 || bits == 3 || bits == 4 || bits == 8 || bits == 16 || bits == 32;
  return known ? up_to(rows, kTile) / kTile * tile_words(columns, bits) : 0;
}

void sqil_tiles_from_rows(const uint8_t *packed, int32_t rows, int32_t columns, int32_t bits,
                          uint32_t *tiles) {
  const int64_t stride = row_bytes(columns, bits);
  fill(tiles, rows, columns, bits, [&](int row, int column) -> uint32_t {
    if (row >= rows || column >= columns) return 1u << (bits - 1);
    const uint8_t *stream = packed + row * stride;
    const int64_t at = int64_t(column) * bits;
    const int64_t byte = at / 8;
    const uint32_t next = byte + 1 < stride ? stream[byte + 1] : 0;
    return ((stream[byte] | next << 8) >> (at % 8)) & ((1u << bits) - 1);
  });
}

void sqil_rows_from_tiles(const uint32_t *tiles, int32_t rows, int32_t columns, int32_t bits,
                          uint8_t *packed) {
  const int64_t stride = row_bytes(columns, bits);
  memset(packed, 0, rows * stride);
  for (int row = 0; row < rows; ++row) {
    uint8_t *stream = packed + row * stride;
    for (int column = 0; column < columns; ++column) {
      const uint32_t code =
          get(tiles + block_at(row, column, columns, bits), row % kTile, column % kBlock, bits);
      const int64_t at = int64_t(column) * bits;
      const uint32_t shifted = code << (at % 8);
      stream[at / 8] |= uint8_t(shifted);
      if (shifted >> 8) stream[at / 8 + 1] |= uint8_t(shifted >> 8);
    }
  }
}

void sqil_tiles_from_floats(const float *weight, int32_t rows, int32_t columns, int32_t bits,
                            uint32_t *tiles) {
  fill(tiles, rows, columns, bits, [&](int row, int column) -> uint32_t {
    if (row >= rows || column >= columns) return 0;
    return bits_of(weight[int64_t(row) * columns + column]) >> (32 - bits);
  });
}
