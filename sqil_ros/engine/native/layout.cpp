// SPDX-License-Identifier: Apache-2.0
// Weights into tiles and back; see layout.h.
#include "layout.h"

#include <string.h>

#include "engine.h"

namespace sqil {
namespace {

// Four neighbouring codes of at most 8 bits to the low bits of four bytes, and back.
template <int bits>
uint32_t spread(uint32_t codes) {
  uint32_t bytes = 0;
  for (int c = 0; c < 4; ++c) bytes |= (codes >> (bits * c) & ((1u << bits) - 1)) << (8 * c);
  return bytes;
}

template <int bits>
uint32_t gather(uint32_t bytes) {
  uint32_t codes = 0;
  for (int c = 0; c < 4; ++c) codes |= (bytes >> (8 * c) & ((1u << bits) - 1)) << (bits * c);
  return codes;
}

// 32 codes of a row, as they follow each other, to the row's words of a block (one every kTile).
template <int bits>
void deal(const uint32_t *stream, uint32_t *block) {
  if constexpr (bits == 8 || bits == 16) {
    for (int word = 0; word < bits; ++word) block[word * kTile] = stream[word];
  } else if constexpr (bits == 3) {
    uint32_t low[2] = {}, high = 0;
    for (int quad = 0; quad < 8; ++quad) {
      const int at = 12 * quad;
      const uint64_t pair = stream[at / 32] | uint64_t(at / 32 < 2 ? stream[at / 32 + 1] : 0) << 32;
      const uint32_t bytes = spread<3>(uint32_t(pair >> at % 32));
      low[quad / 4] |= (bytes & 0x03030303u) << (2 * (quad % 4));
      high |= (bytes >> 2 & 0x01010101u) << quad;
    }
    block[0] = low[0];
    block[kTile] = low[1];
    block[2 * kTile] = high;
  } else {
    for (int word = 0; word < bits; ++word) {
      uint32_t value = 0;
      for (int quad = 0; quad < 8 / bits; ++quad) {
        value |= spread<bits>(stream[word] >> (4 * bits * quad)) << (bits * quad);
      }
      block[word * kTile] = value;
    }
  }
}

// Inverse of `deal`.
template <int bits>
void collect(const uint32_t *block, uint32_t *stream) {
  for (int word = 0; word < bits; ++word) stream[word] = 0;
  if constexpr (bits == 8 || bits == 16) {
    for (int word = 0; word < bits; ++word) stream[word] = block[word * kTile];
  } else if constexpr (bits == 3) {
    for (int quad = 0; quad < 8; ++quad) {
      const uint32_t low = block[quad / 4 * kTile] >> (2 * (quad % 4)) & 0x03030303u;
      const uint32_t high = block[2 * kTile] >> quad & 0x01010101u;
      const int at = 12 * quad;
      const uint64_t codes = uint64_t(gather<3>(low | high << 2)) << at % 32;
      stream[at / 32] |= uint32_t(codes);
      if (at / 32 < 2) stream[at / 32 + 1] |= uint32_t(codes >> 32);
    }
  } else {
    for (int word = 0; word < bits; ++word) {
      for (int quad = 0; quad < 8 / bits; ++quad) {
        stream[word] |= gather<bits>(block[word * kTile] >> (bits * quad)) << (4 * bits * quad);
      }
    }
  }
}

// 32 codes that stand for zero.
template <int bits>
void fill_zeros(uint32_t *stream) {
  for (int word = 0; word < bits; ++word) stream[word] = 0;
  if (bits == 16) return;
  for (int c = 0; c < kBlock; ++c) {
    const int at = c * bits + bits - 1;
    stream[at / 32] |= 1u << at % 32;
  }
}

// Bytes of a portable row: a little-endian stream of codes in whole words.
int64_t row_bytes(int columns, int bits) { return (int64_t(columns) * bits + 31) / 32 * 4; }

// The first `count` bits of a portable stream over those of `to`.
void copy_bits(const uint8_t *from, int count, uint32_t *to) {
  memcpy(to, from, count / 32 * 4);
  if (count % 32) {
    uint32_t last;
    memcpy(&last, from + count / 32 * 4, sizeof last);
    const uint32_t mask = (1u << count % 32) - 1;
    to[count / 32] = (to[count / 32] & ~mask) | (last & mask);
  }
}

// Inverse of `copy_bits`: the bits behind, to the end of their word, become zero.
void write_bits(const uint32_t *from, int count, uint8_t *to) {
  memcpy(to, from, count / 32 * 4);
  if (count % 32) {
    const uint32_t last = from[count / 32] & ((1u << count % 32) - 1);
    memcpy(to + count / 32 * 4, &last, sizeof last);
  }
}

template <int bits>
void tiles_from_rows(const uint8_t *packed, int rows, int columns, uint32_t *tiles) {
  const int64_t stride = row_bytes(columns, bits);
  const int blocks = up_to(columns, kBlock) / kBlock;
  for (int row = 0; row < up_to(rows, kTile); ++row) {
    uint32_t *block = tiles + row / kTile * tile_words(columns, bits) + row % kTile;
    for (int b = 0; b < blocks; ++b, block += bits * kTile) {
      uint32_t stream[bits];
      fill_zeros<bits>(stream);
      if (row < rows) {
        const int rest = columns - b * kBlock, count = rest < kBlock ? rest : kBlock;
        copy_bits(packed + row * stride + int64_t(b) * bits * 4, count * bits, stream);
      }
      deal<bits>(stream, block);
    }
  }
}

template <int bits>
void rows_from_tiles(const uint32_t *tiles, int rows, int columns, uint8_t *packed) {
  const int64_t stride = row_bytes(columns, bits);
  const int blocks = up_to(columns, kBlock) / kBlock;
  memset(packed, 0, rows * stride);
  for (int row = 0; row < rows; ++row) {
    const uint32_t *block = tiles + row / kTile * tile_words(columns, bits) + row % kTile;
    for (int b = 0; b < blocks; ++b, block += bits * kTile) {
      uint32_t stream[bits];
      collect<bits>(block, stream);
      const int rest = columns - b * kBlock, count = rest < kBlock ? rest : kBlock;
      write_bits(stream, count * bits, packed + row * stride + int64_t(b) * bits * 4);
    }
  }
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
  switch (bits) {
    case 2: return tiles_from_rows<2>(packed, rows, columns, tiles);
    case 3: return tiles_from_rows<3>(packed, rows, columns, tiles);
    case 4: return tiles_from_rows<4>(packed, rows, columns, tiles);
    case 8: return tiles_from_rows<8>(packed, rows, columns, tiles);
    default: return tiles_from_rows<16>(packed, rows, columns, tiles);
  }
}

void sqil_rows_from_tiles(const uint32_t *tiles, int32_t rows, int32_t columns, int32_t bits,
                          uint8_t *packed) {
  switch (bits) {
    case 2: return rows_from_tiles<2>(tiles, rows, columns, packed);
    case 3: return rows_from_tiles<3>(tiles, rows, columns, packed);
    case 4: return rows_from_tiles<4>(tiles, rows, columns, packed);
    case 8: return rows_from_tiles<8>(tiles, rows, columns, packed);
    default: return rows_from_tiles<16>(tiles, rows, columns, packed);
  }
}

void sqil_tiles_from_floats(const float *weight, int32_t rows, int32_t columns, int32_t bits,
                            uint32_t *tiles) {
  memset(tiles, 0, sizeof(uint32_t) * sqil_tile_words(rows, columns, bits));
  for (int row = 0; row < rows; ++row) {
    uint32_t *tile = tiles + row / kTile * tile_words(columns, bits) + row % kTile;
    const float *from = weight + int64_t(row) * columns;
    for (int column = 0; column < columns; ++column) {
      uint32_t word;
      memcpy(&word, from + column, sizeof word);
      // Columns of all blocks follow each other: a word a column, or one for two.
      if (bits == 32) {
        tile[int64_t(column) * kTile] = word;
      } else {
        tile[int64_t(column / 2) * kTile] |= word >> 16 << shift_of(16, column);
      }
    }
  }
}
