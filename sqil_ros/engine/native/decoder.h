// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "action_head.h"
#include "head_memory.h"
#include "products.h"

namespace sqil {

// A Llama decoder with room for one prompt and its answer; the keys and values have their place.
class Decoder {
 public:
  Decoder(const sqil_decoder &description, int threads);

  // BOS, `seen_count` rows of `seen`, the other words: to the action tokens. False where they
  // exceed the capacity.
  bool answer(const float *words, int count, const Rows &seen, int seen_count, int64_t *answer);
  // The same prompt, then places for the answer: to actions, all at once. Everything sees everything.
  bool plan(const float *words, int count, const Rows &seen, int seen_count, float *actions);

  int answers() const { return decoder_.answers; }
  int width() const { return decoder_.width; }
  int bins() const { return outputs_of(decoder_.head); }
  // Of the last answer.
  const Rows &states() const { return answered_; }
  const Rows &logits() const { return logits_; }
  // Of the last answer: until its first token, or the states of a plan, are known, and until all [s].
  double prefill_seconds() const { return prefill_s_; }
  double answer_seconds() const { return answer_s_; }
  int64_t bytes() const;

 private:
  void put(const float *words, int count, int row);
  void put_prompt(const float *words, int count, const Rows &seen, int seen_count);
  // Rows of the states that are asked for behind the last layer.
  struct Asked {
    int from, count;
  };
  void forward(int start, int count, Asked asked, bool causal);
  void normalize(const sqil_norm &norm, int from, int count);
  void add(int from, int count);
  void attend(int layer, int start, int count, Asked asked, bool causal);
  int chosen_bin(const float *logits) const;

  const sqil_decoder decoder_;
  const std::vector<sqil_decoder_layer> layers_;
  Products products_;
  // What was attended to lies where the queries were, and a change where the normed states were.
  Rows states_, normed_, query_, key_, value_, gate_, up_;
  const int kept_layers_;
  HeadMemories memories_;  // (kept layers, key heads)
  Rows scores_;            // (heads)
  Rows answered_, logits_;
  std::unique_ptr<ActionHead> action_head_;
  double prefill_s_ = 0.0, answer_s_ = 0.0;
};

}  // namespace sqil
