// SPDX-License-Identifier: Apache-2.0
// Where attention finds the keys and values of the tokens that were seen.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels.h"
#include "layout.h"
#include "zeros.h"

namespace sqil {

// Of many heads, each with room for so many tokens.
class HeadMemories {
 public:
  HeadMemories(int heads, int tokens, int width, int bits)
      : bits_(bits),
        room_(up_to(tokens, kTile)),
        key_bytes_(int64_t(width) * room_ * bits / 8),
        value_bytes_(int64_t(tokens) * up_to(width, kTile) * bits / 8),
        bytes_(heads * (key_bytes_ + value_bytes_)) {}

  HeadMemory operator[](int head) {
    uint8_t *keys = bytes_.data() + head * (key_bytes_ + value_bytes_);
    return {keys, keys + key_bytes_, room_, bits_};
  }

  int64_t bytes() const { return bytes_.bytes(); }

 private:
  const int bits_;
  const int64_t room_, key_bytes_, value_bytes_;
  Zeros<uint8_t> bytes_;
};

}  // namespace sqil
