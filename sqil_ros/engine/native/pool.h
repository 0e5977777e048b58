// SPDX-License-Identifier: Apache-2.0
// Threads that share the parts of one product.
#pragma once

#include <stdint.h>

namespace sqil {

// Calls `work(context, first, last)` for ranges that cover [0, count), on at most `threads`
// threads, this one among them; returns when all are done. Where another call keeps the threads
// busy, this thread does all of it.
void in_parallel(int threads, int count, void (*work)(void *context, int first, int last),
                 void *context);

template <typename Work>
void in_parallel(int threads, int count, Work work) {
  if (threads <= 1 || count <= 1) return work(0, count);
  in_parallel(
      threads, count,
      [](void *context, int first, int last) { (*static_cast<Work *>(context))(first, last); },
      &work);
}

}  // namespace sqil
