// SPDX-License-Identifier: Apache-2.0
#include "action_head.h"

#include <string.h>

#include <algorithm>

namespace sqil {
namespace {

void rectify(Rows &rows, int count) {
  float *x = rows.row(0);
  for (int64_t i = 0; i < count * rows.stride(); ++i) x[i] = std::max(x[i], 0.0f);
}

}  // namespace

ActionHead::ActionHead(const sqil_action_head &head, int states, int width, int threads)
    : head_(head),
      width_(width),
      states_of_one_(head.into.columns / width),
      actions_(states / states_of_one_),
      products_(threads, actions_, head.into.columns),
      joined_(actions_, head.into.columns),
      normed_joined_(actions_, head.into.columns),
      hidden_(actions_, outputs_of(head.into)),
      normed_(actions_, outputs_of(head.into)),
      change_(actions_, outputs_of(head.into)),
      out_(actions_, outputs_of(head.out)) {}

void ActionHead::operator()(const Rows &states, float *actions) {
  for (int row = 0; row < actions_ * states_of_one_; ++row) {
    memcpy(joined_.row(row / states_of_one_) + row % states_of_one_ * width_, states.row(row),
           sizeof(float) * width_);
  }
  layer(head_.before, head_.into, joined_, normed_joined_, hidden_);
  rectify(hidden_, actions_);
  for (int block = 0; block < 2; ++block) {
    layer(head_.block_norm[block], head_.block[block], hidden_, normed_, change_);
    rectify(change_, actions_);
    kernels().add(hidden_.row(0), change_.row(0), nullptr, hidden_.stride(), actions_,
                  head_.block[block].columns);
  }
  layer(head_.after, head_.out, hidden_, normed_, out_);
  const int numbers = outputs_of(head_.out);
  for (int row = 0; row < actions_; ++row) {
    memcpy(actions + row * numbers, out_.row(row), sizeof(float) * numbers);
  }
}

void ActionHead::layer(const sqil_norm &norm, const sqil_linear &linear, const Rows &from,
                       Rows &normed, Rows &to) {
  kernels().normalize(norm, head_.epsilon, from.row(0), from.stride(), actions_, linear.columns,
                      normed.row(0));
  products_(linear, normed, to, actions_, 0, actions_ == 1);
}

int64_t ActionHead::bytes() const {
  int64_t total = products_.bytes();
  for (const Rows *rows : {&joined_, &normed_joined_, &hidden_, &normed_, &change_, &out_}) {
    total += rows->bytes();
  }
  return total;
}

}  // namespace sqil
