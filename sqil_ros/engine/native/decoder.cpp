// SPDX-License-Identifier: Apache-2.0
#include "decoder.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <chrono>

namespace sqil {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

Decoder::Decoder(const sqil_decoder &d, int threads)
    : decoder_(d),
      layers_(d.layers, d.layers + d.layer_count),
      products_(threads, d.capacity,
                std::max({d.width, d.heads * d.head_width, outputs_of(layers_[0].gate)})),
      states_(d.capacity, d.width),
      normed_(d.capacity, d.width),
      query_(d.capacity, d.heads * d.head_width),
      key_(d.capacity, d.key_heads * d.head_width),
      value_(d.capacity, d.key_heads * d.head_width),
      gate_(d.capacity, outputs_of(layers_[0].gate)),
      up_(d.capacity, outputs_of(layers_[0].gate)),
      // A parallel answer is one pass: no layer's keys and values are asked for again.
      kept_layers_(d.action_head ? 1 : d.layer_count),
      memories_(kept_layers_ * d.key_heads, d.capacity, d.head_width, d.memory_bits),
      scores_(d.heads, kMostQueryRows * up_to(d.capacity, kTile)),
      answered_(d.answers, d.width),
      logits_(d.answers, outputs_of(d.head)),
      action_head_(d.action_head ? new ActionHead(*d.action_head, d.answers, d.width, threads)
                                 : nullptr) {}

bool Decoder::answer(const float *words, int count, const Rows &seen, int seen_count,
                     int64_t *answer) {
  const int prompt = count + seen_count;
  if (prompt + decoder_.answers - 1 > decoder_.capacity) return false;
  put_prompt(words, count, seen, seen_count);
  const auto start = Clock::now();
  for (int index = 0, bin = 0; index < decoder_.answers; ++index) {
    if (index == 1) prefill_s_ = seconds_since(start);
    const int rows = index == 0 ? prompt : 1;
    if (index > 0) put(decoder_.bin_words + int64_t(bin) * decoder_.width, 1, 0);
    forward(index == 0 ? 0 : prompt + index - 1, rows, {rows - 1, 1}, true);
    kernels().normalize(decoder_.norm, decoder_.epsilon, states_.row(rows - 1), states_.stride(),
                        1, decoder_.width, answered_.row(index));
    products_(decoder_.head, answered_, logits_, 1, index);
    bin = chosen_bin(logits_.row(index));
    answer[index] = decoder_.first_token - bin;
  }
  answer_s_ = seconds_since(start);
  return true;
}

bool Decoder::plan(const float *words, int count, const Rows &seen, int seen_count,
                   float *actions) {
  const int prompt = count + seen_count, whole = prompt + decoder_.answers + 1;
  if (whole > decoder_.capacity) return false;
  put_prompt(words, count, seen, seen_count);
  for (int place = prompt; place < whole - 1; ++place) {
    memset(states_.row(place), 0, sizeof(float) * decoder_.width);
  }
  put(decoder_.stop_word, 1, whole - 1);
  const auto start = Clock::now();
  // As in next-token prediction, an action is read one position early.
  forward(0, whole, {prompt - 1, decoder_.answers}, false);
  kernels().normalize(decoder_.norm, decoder_.epsilon, states_.row(prompt - 1), states_.stride(),
                      decoder_.answers, decoder_.width, answered_.row(0));
  prefill_s_ = seconds_since(start);
  (*action_head_)(answered_, actions);
  answer_s_ = seconds_since(start);
  return true;
}

void Decoder::put_prompt(const float *words, int count, const Rows &seen, int seen_count) {
  put(words, 1, 0);
  for (int row = 0; row < seen_count; ++row) put(seen.row(row), 1, 1 + row);
  put(words + decoder_.width, count - 1, 1 + seen_count);
}

void Decoder::put(const float *words, int count, int row) {
  for (int word = 0; word < count; ++word) {
    memcpy(states_.row(row + word), words + int64_t(word) * decoder_.width,
           sizeof(float) * decoder_.width);
  }
}

// The first `count` rows of the states, which follow `start` tokens that were seen before.
void Decoder::forward(int start, int count, Asked asked, bool causal) {
  const bool alone = count == 1;
  for (int index = 0; index < decoder_.layer_count; ++index) {
    const sqil_decoder_layer &layer = layers_[index];
    const bool last = index + 1 == decoder_.layer_count;
    const int from = last ? asked.from : 0, rows = last ? asked.count : count;
    normalize(layer.before, 0, count);
    products_(layer.query, normed_, query_, rows, from, alone);
    products_(layer.key, normed_, key_, count, 0, alone);
    products_(layer.value, normed_, value_, count, 0, alone);
    attend(index, start, count, {from, rows}, causal);
    products_(layer.output, query_, normed_, rows, from, alone);
    add(from, rows);
    normalize(layer.between, from, rows);
    products_(layer.gate, normed_, gate_, rows, from, alone);
    products_(layer.up, normed_, up_, rows, from, alone);
    products_.share_rows(rows, [&](int first, int part) {
      kernels().apply_gate(gate_.row(from + first), up_.row(from + first), part * gate_.stride());
    });
    products_(layer.down, gate_, normed_, rows, from, alone);
    add(from, rows);
  }
}

// Of the states, into `normed_`.
void Decoder::normalize(const sqil_norm &norm, int from, int count) {
  products_.share_rows(count, [&](int first, int rows) {
    kernels().normalize(norm, decoder_.epsilon, states_.row(from + first), states_.stride(), rows,
                        decoder_.width, normed_.row(from + first));
  });
}

// To the states, what lies in `normed_`.
void Decoder::add(int from, int count) {
  products_.share_rows(count, [&](int first, int rows) {
    kernels().add(states_.row(from + first), normed_.row(from + first), nullptr, states_.stride(),
                  rows, decoder_.width);
  });
}

void Decoder::attend(int layer, int start, int count, Asked asked, bool causal) {
  const Kernels &use = kernels();
  const int width = decoder_.head_width, half = width / 2;
  const int queries_per_key = decoder_.heads / decoder_.key_heads;
  const int memory = layer % kept_layers_ * decoder_.key_heads;
  const float *const cosine = decoder_.cosine + start * half;
  const float *const sine = decoder_.sine + start * half;
  const auto rotate = [&](Rows &rows, int from, int rotated, int heads) {
    products_.share_rows(rotated, [&](int first, int part) {
      const int row = from + first;
      use.rotate(rows.row(row), rows.stride(), part, heads, width, cosine + row * half,
                 sine + row * half);
    });
  };
  rotate(query_, asked.from, asked.count, decoder_.heads);
  rotate(key_, 0, count, decoder_.key_heads);
  const int helpers = count <= kFew ? 1 : products_.threads;
  in_parallel(helpers, decoder_.key_heads, [&](int first, int last) {
    for (int head = first; head < last; ++head) {
      use.remember(key_.row(0) + head * width, value_.row(0) + head * width, key_.stride(), count,
                   width, start, memories_[memory + head]);
    }
  });
  in_parallel(products_.threads, decoder_.heads, [&](int first, int last) {
    for (int head = first; head < last; ++head) {
      use.attend(query_.row(asked.from) + head * width, query_.stride(), asked.count,
                 memories_[memory + head / queries_per_key], start + count, width, causal,
                 scores_.row(head), query_.row(asked.from) + head * width, query_.stride());
    }
  });
}

// As OpenVLA.choose_tokens: the likeliest bin, or the one that holds the median.
int Decoder::chosen_bin(const float *logits) const {
  const int bins = outputs_of(decoder_.head);
  const int best = int(std::max_element(logits, logits + bins) - logits);
  if (!decoder_.median) return best;
  double total = 0.0;
  for (int bin = 0; bin < bins; ++bin) total += expf(logits[bin] - logits[best]);
  double below = 0.0;
  for (int bin = 0; bin < bins; ++bin) {
    below += expf(logits[bin] - logits[best]);
    if (below >= 0.5 * total) return bin;
  }
  return bins - 1;
}

int64_t Decoder::bytes() const {
  int64_t total = products_.bytes() + memories_.bytes();
  for (const Rows *rows : {&states_, &normed_, &query_, &key_, &value_, &gate_, &up_, &scores_,
                           &answered_, &logits_}) {
    total += rows->bytes();
  }
  return total + (action_head_ ? action_head_->bytes() : 0);
}

}  // namespace sqil
