// SPDX-License-Identifier: Apache-2.0
// The C interface of products and of the control step.
#include <string.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>

#include "decoder.h"
#include "vision.h"

struct sqil_step {
  sqil::Vision vision;
  sqil::Decoder decoder;
};

namespace {

void copy(const sqil::Rows &rows, int count, int width, float *to) {
  if (!width) return;  // there are no rows to point at
  for (int row = 0; row < count; ++row) {
    memcpy(to + int64_t(row) * width, rows.row(row), sizeof(float) * width);
  }
}

// Room of the thread that asks. It stays, as large as the thread ever needed it: the system takes
// longer to give memory anew than many a product lasts.
sqil::Products &room_for(int threads, int rows, int width) {
  thread_local std::unique_ptr<sqil::Products> room;
  if (room) {
    rows = std::max(rows, room->most_rows);
    width = std::max(width, room->most_columns);
  }
  if (!room || room->threads != threads || room->most_rows < rows || room->most_columns < width) {
    room = std::make_unique<sqil::Products>(threads, rows, width);
  }
  return *room;
}

}  // namespace

int32_t sqil_interface(void) { return SQIL_INTERFACE; }

void sqil_multiply(const sqil_linear *layer, const float *x, int64_t x_stride, int32_t count,
                   float *y, int64_t y_stride, int32_t threads) {
  const int width = x_stride > layer->columns ? int(x_stride) : layer->columns;
  // Nothing of many rows that nobody rounds needs room.
  const int rows = layer->input_bits || count <= sqil::kFew ? count : 0;
  room_for(threads, rows, width)(*layer, x, x_stride, count, y, y_stride);
}

uint32_t sqil_read(const uint32_t *words, int64_t count, int32_t threads) {
  constexpr int64_t kPart = 1 << 14;
  std::atomic<uint32_t> total{0};
  sqil::in_parallel(threads, int((count + kPart - 1) / kPart), [&](int first, int last) {
    const int64_t begin = first * kPart, end = last * kPart < count ? last * kPart : count;
    total += sqil::kernels().read(words + begin, end - begin);
  });
  return total;
}

sqil_step *sqil_step_new(const sqil_vision *vision, const sqil_decoder *decoder, int32_t threads) {
  try {
    return new sqil_step{sqil::Vision(*vision, threads), sqil::Decoder(*decoder, threads)};
  } catch (const std::bad_alloc &) {
    return nullptr;
  }
}

void sqil_step_free(sqil_step *step) { delete step; }

void sqil_step_see(sqil_step *step, const float *pixels, const float *proprio) {
  step->vision.see(pixels, proprio);
}

int32_t sqil_step_decode(sqil_step *step, const float *words, int32_t count, int64_t *answer) {
  const sqil::Vision &vision = step->vision;
  return step->decoder.answer(words, count, vision.seen(), vision.count(), answer) ? 0 : -1;
}

int32_t sqil_step_plan(sqil_step *step, const float *words, int32_t count, float *actions) {
  const sqil::Vision &vision = step->vision;
  return step->decoder.plan(words, count, vision.seen(), vision.count(), actions) ? 0 : -1;
}

void sqil_step_peek(const sqil_step *step, float *seen, float *states, float *logits) {
  const sqil::Decoder &decoder = step->decoder;
  copy(step->vision.seen(), step->vision.count(), decoder.width(), seen);
  copy(decoder.states(), decoder.answers(), decoder.width(), states);
  copy(decoder.logits(), decoder.answers(), decoder.bins(), logits);
}

void sqil_step_seconds(const sqil_step *step, double *prefill, double *answer) {
  *prefill = step->decoder.prefill_seconds();
  *answer = step->decoder.answer_seconds();
}

int64_t sqil_step_bytes(const sqil_step *step) {
  return step->vision.bytes() + step->decoder.bytes();
}
