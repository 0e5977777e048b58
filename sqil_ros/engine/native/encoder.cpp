// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include <algorithm>

#include "vision.h"

namespace sqil {

namespace {
constexpr int kChannels = 3, kAllChannels = 6;

int square(int value) { return value * value; }
}  // namespace

Encoder::Encoder(const sqil_vision &vision, const sqil_encoder &e, int threads)
    : encoder_(e),
      layers_(e.layers, e.layers + e.layer_count),
      cameras_(vision.cameras),
      image_side_(vision.image_side),
      patch_side_(vision.patch_side),
      patches_(square(vision.image_side / vision.patch_side)),
      tokens_(patches_ + e.prefix_count),
      products_(threads, cameras_ * tokens_, std::max(e.patch.columns, outputs_of(layers_[0].up))),
      squares_(cameras_ * patches_, e.patch.columns),
      embedded_(cameras_ * patches_, e.width),
      states_(cameras_ * tokens_, e.width),
      normed_(cameras_ * tokens_, e.width),
      query_(cameras_ * tokens_, e.width),
      key_(cameras_ * tokens_, e.width),
      value_(cameras_ * tokens_, e.width),
      hidden_(cameras_ * tokens_, outputs_of(layers_[0].up)),
      memories_(cameras_ * e.heads, tokens_, e.width / e.heads, 32),
      scores_(cameras_ * e.heads, kMostQueryRows * up_to(tokens_, kTile)) {}

void Encoder::see(const float *pixels) {
  const int count = cameras_ * tokens_;
  const auto gelu = encoder_.gelu_tanh ? kernels().apply_gelu_tanh : kernels().apply_gelu;
  embed(pixels);
  for (const sqil_encoder_layer &layer : layers_) {
    normalize(layer.before);
    products_(layer.query, normed_, query_, count);
    products_(layer.key, normed_, key_, count);
    products_(layer.value, normed_, value_, count);
    attend();
    products_(layer.output, query_, normed_, count);
    add(layer.attention_gain);
    normalize(layer.between);
    products_(layer.up, normed_, hidden_, count);
    products_.share_rows(count, [&](int first, int rows) {
      gelu(hidden_.row(first), rows * hidden_.stride());
    });
    products_(layer.down, hidden_, normed_, count);
    add(layer.mlp_gain);
  }
}

// Of the states, into `normed_`.
void Encoder::normalize(const sqil_norm &norm) {
  products_.share_rows(cameras_ * tokens_, [&](int first, int rows) {
    kernels().normalize(norm, encoder_.epsilon, states_.row(first), states_.stride(), rows,
                        encoder_.width, normed_.row(first));
  });
}

// To the states, `gain` times what lies in `normed_`.
void Encoder::add(const float *gain) {
  products_.share_rows(cameras_ * tokens_, [&](int first, int rows) {
    kernels().add(states_.row(first), normed_.row(first), gain, states_.stride(), rows,
                  encoder_.width);
  });
}

// Squares of pixels, then the prefix and the patches with their positions.
void Encoder::embed(const float *pixels) {
  const int side = image_side_ / patch_side_;
  const size_t row_bytes = sizeof(float) * patch_side_;
  for (int camera = 0; camera < cameras_; ++camera) {
    const float *channels =
        pixels + int64_t(camera * kAllChannels + encoder_.first_channel) * square(image_side_);
    for (int patch = 0; patch < patches_; ++patch) {
      const float *corner =
          channels + int64_t(patch / side) * patch_side_ * image_side_ + patch % side * patch_side_;
      float *to = squares_.row(camera * patches_ + patch);
      for (int line = 0; line < kChannels * patch_side_; ++line, to += patch_side_) {
        const int channel = line / patch_side_, y = line % patch_side_;
        memcpy(to, corner + int64_t(channel) * square(image_side_) + int64_t(y) * image_side_,
               row_bytes);
      }
    }
  }
  products_(encoder_.patch, squares_, embedded_, cameras_ * patches_);
  for (int camera = 0; camera < cameras_; ++camera) {
    for (int token = 0; token < encoder_.prefix_count; ++token) {
      memcpy(states_.row(camera * tokens_ + token),
             encoder_.prefix + int64_t(token) * encoder_.width, sizeof(float) * encoder_.width);
    }
    for (int patch = 0; patch < patches_; ++patch) {
      const float *from = embedded_.row(camera * patches_ + patch);
      const float *position = encoder_.positions + int64_t(patch) * encoder_.width;
      float *to = states_.row(camera * tokens_ + encoder_.prefix_count + patch);
      for (int c = 0; c < encoder_.width; ++c) to[c] = from[c] + position[c];
    }
  }
}

void Encoder::attend() {
  const Kernels &use = kernels();
  const int width = encoder_.width / encoder_.heads;
  in_parallel(products_.threads, cameras_ * encoder_.heads, [&](int begin, int end) {
    for (int index = begin; index < end; ++index) {
      const int row = index / encoder_.heads * tokens_;
      const int column = index % encoder_.heads * width;
      use.remember(key_.row(row) + column, value_.row(row) + column, key_.stride(), tokens_, width,
                   0, memories_[index]);
      use.attend(query_.row(row) + column, query_.stride(), tokens_, memories_[index], tokens_,
                 width, false, scores_.row(index), query_.row(row) + column, query_.stride());
    }
  });
}

int64_t Encoder::bytes() const {
  int64_t total = products_.bytes() + memories_.bytes();
  for (const Rows *rows : {&squares_, &embedded_, &states_, &normed_, &query_, &key_, &value_,
                           &hidden_, &scores_}) {
    total += rows->bytes();
  }
  return total;
}

}  // namespace sqil
