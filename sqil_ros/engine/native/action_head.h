// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "products.h"

namespace sqil {

// Decoder states to actions by regression, as ActionHead of sqil_ros/policy/openvla/action_head.py.
class ActionHead {
 public:
  // For `states` rows of `width` numbers.
  ActionHead(const sqil_action_head &description, int states, int width, int threads);

  // The actions one after the other.
  void operator()(const Rows &states, float *actions);
  int64_t bytes() const;

 private:
  void layer(const sqil_norm &norm, const sqil_linear &linear, const Rows &from, Rows &normed,
             Rows &to);

  const sqil_action_head head_;
  const int width_, states_of_one_, actions_;
  Products products_;
  Rows joined_, normed_joined_, hidden_, normed_, change_, out_;  // a row an action
};

}  // namespace sqil
