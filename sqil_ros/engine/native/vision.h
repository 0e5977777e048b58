// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "head_memory.h"
#include "products.h"

namespace sqil {

// One vision transformer over the pictures of all cameras.
class Encoder {
 public:
  Encoder(const sqil_vision &vision, const sqil_encoder &description, int threads);

  // (cameras, 6, side, side) pixels to states.
  void see(const float *pixels);

  // Features of a patch after `see`.
  const float *patch(int camera, int index) const {
    return states_.row(camera * tokens_ + encoder_.prefix_count + index);
  }
  int64_t bytes() const;

 private:
  void embed(const float *pixels);
  void normalize(const sqil_norm &norm);
  void add(const float *gain);
  void attend();

  const sqil_encoder encoder_;
  const std::vector<sqil_encoder_layer> layers_;
  const int cameras_, image_side_, patch_side_, patches_, tokens_;
  Products products_;
  Rows squares_, embedded_;
  Rows states_, normed_, query_, key_, value_, hidden_;  // used again as in a decoder
  HeadMemories memories_;  // (cameras, heads)
  Rows scores_;            // (cameras, heads)
};

// Encoders and projectors.
class Vision {
 public:
  Vision(const sqil_vision &description, int threads);

  void see(const float *pixels, const float *proprio);

  int count() const { return tokens_ + (vision_.proprio[0].tiles ? 1 : 0); }
  const Rows &seen() const { return seen_; }
  int64_t bytes() const;

 private:
  void merge();

  const sqil_vision vision_;
  const int side_;    // patches in a row of a picture
  const int tokens_;  // of all pictures
  Encoder encoders_[2];
  Products products_;
  Rows merged_, first_, second_, proprio_, proprio_hidden_, proprio_token_;
  Rows seen_;
};

}  // namespace sqil
