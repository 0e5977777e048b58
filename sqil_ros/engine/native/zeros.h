// SPDX-License-Identifier: Apache-2.0
// Room that is full of zeros, and takes no memory before it is used.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <memory>
#include <new>

namespace sqil {

template <typename Number>
class Zeros {
 public:
  Zeros() = default;
  explicit Zeros(size_t count)
      : count_(count), values_(static_cast<Number *>(calloc(count + 1, sizeof(Number)))) {
    if (!values_) throw std::bad_alloc();
  }

  Number *data() const { return values_.get(); }
  int64_t bytes() const { return int64_t(count_ * sizeof(Number)); }

 private:
  struct Free {
    void operator()(Number *values) const { free(values); }
  };

  size_t count_ = 0;
  std::unique_ptr<Number, Free> values_;
};

}  // namespace sqil
