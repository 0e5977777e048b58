// SPDX-License-Identifier: Apache-2.0
#include "vision.h"

#include <string.h>

#include <algorithm>

namespace sqil {

Vision::Vision(const sqil_vision &v, int threads)
    : vision_(v),
      side_(v.image_side / v.patch_side),
      tokens_(v.cameras * (side_ / v.merge) * (side_ / v.merge)),
      encoders_{Encoder(v, v.encoders[0], threads), Encoder(v, v.encoders[1], threads)},
      products_(threads, tokens_,
                std::max({v.projector[0].columns, v.projector[1].columns, v.projector[2].columns,
                          v.proprio[0].columns, v.proprio[1].columns})),
      merged_(tokens_, v.projector[0].columns),
      first_(tokens_, v.projector[1].columns),
      second_(tokens_, v.projector[2].columns),
      proprio_(1, v.proprio[0].columns),
      proprio_hidden_(1, v.proprio[1].columns),
      proprio_token_(1, outputs_of(v.projector[2])),
      seen_(tokens_ + 1, outputs_of(v.projector[2])) {}

void Vision::see(const float *pixels, const float *proprio) {
  const Kernels &use = kernels();
  for (Encoder &encoder : encoders_) encoder.see(pixels);
  merge();
  products_(vision_.projector[0], merged_, first_, tokens_);
  use.apply_gelu(first_.row(0), tokens_ * first_.stride());
  products_(vision_.projector[1], first_, second_, tokens_);
  use.apply_gelu(second_.row(0), tokens_ * second_.stride());
  products_(vision_.projector[2], second_, seen_, tokens_);
  if (!vision_.proprio[0].tiles) return;
  memcpy(proprio_.row(0), proprio, sizeof(float) * vision_.proprio[0].columns);
  products_(vision_.proprio[0], proprio_, proprio_hidden_, 1);
  use.apply_gelu(proprio_hidden_.row(0), proprio_hidden_.stride());
  products_(vision_.proprio[1], proprio_hidden_, proprio_token_, 1);
  memcpy(seen_.row(tokens_), proprio_token_.row(0), sizeof(float) * outputs_of(vision_.proprio[1]));
}

// The features of both encoders, a square of patches to a row.
void Vision::merge() {
  const int side = side_ / vision_.merge;
  for (int token = 0; token < tokens_; ++token) {
    const int camera = token / (side * side);
    const int top = token / side % side * vision_.merge, left = token % side * vision_.merge;
    float *to = merged_.row(token);
    for (int patch = 0; patch < vision_.merge * vision_.merge; ++patch) {
      const int index = (top + patch / vision_.merge) * side_ + left + patch % vision_.merge;
      for (int e = 0; e < 2; ++e) {
        memcpy(to, encoders_[e].patch(camera, index), sizeof(float) * vision_.encoders[e].width);
        to += vision_.encoders[e].width;
      }
    }
  }
}

int64_t Vision::bytes() const {
  int64_t total = encoders_[0].bytes() + encoders_[1].bytes() + products_.bytes();
  for (const Rows *rows :
       {&merged_, &first_, &second_, &proprio_, &proprio_hidden_, &proprio_token_, &seen_}) {
    total += rows->bytes();
  }
  return total;
}

}  // namespace sqil
