// SPDX-License-Identifier: Apache-2.0
// The whole C interface of the engine; sqil_ros/engine/structures.py mirrors the structures.
//
// Every pointer is borrowed: the caller keeps what it points to alive and unchanged. Matrices of
// activations are rows of float32 whose stride counts floats; a product reads each row up to the
// next multiple of 32 columns, which must be zeros.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

// Raised whenever a structure or a function here changes.
#define SQIL_INTERFACE 10

// A linear layer: y = x @ (scale * (codes - zero)).T + bias. See layout.h for `tiles`. A layer whose
// rows have several widths is a chain of bands, one a width; inputs are rounded as the first says.
typedef struct sqil_linear {
  const uint32_t *tiles;  // null where bits is 0
  const float *scale;  // (rows, groups), null where bits is 16 or 32
  const int8_t *zero;  // (rows, groups) or null
  const float *bias;   // (rows) or null
  int32_t rows;        // outputs, of this band
  int32_t columns;     // inputs
  int32_t bits;        // 2, 3, 4, 8; 16 is bfloat16, 32 is float32; 0: the outputs are the bias
  int32_t groups;      // scales a row
  int32_t input_bits;  // inputs are rounded to 4 or 8 bits first; 16: they may be, to bfloat16, in
                       // products of many rows; 0 for not at all
  float input_step;    // static step of rounded inputs; 0 for one per token
  int32_t prompt_only; // inputs of a token that comes alone are not rounded
  const int32_t *places;           // (rows) the outputs that they are; null where in order
  const struct sqil_linear *next;  // the next band, or null
} sqil_linear;

typedef struct {
  const float *weight;
  const float *bias;  // null for a root-mean-square norm
} sqil_norm;

typedef struct {
  sqil_norm before, between;
  sqil_linear query, key, value, output, gate, up, down;
} sqil_decoder_layer;

// Actions by regression: norm, layer and ReLU, residual blocks of the same, norm, layer.
typedef struct {
  sqil_norm before;        // (into.columns)
  sqil_linear into;        // (width, states of one action side by side)
  sqil_norm block_norm[2];
  sqil_linear block[2];    // (width, width)
  sqil_norm after;
  sqil_linear out;         // (numbers of an action, width)
  float epsilon;
} sqil_action_head;

// A Llama decoder that answers with action tokens, or in parallel with actions.
typedef struct {
  const sqil_decoder_layer *layers;
  const float *bin_words;    // (bins, width) what the decoder is fed behind bin b; null beside action_head
  const float *stop_word;    // (width) what stands behind the places of a parallel answer
  const float *cosine;       // (capacity, head_width / 2)
  const float *sine;         // (capacity, head_width / 2)
  sqil_norm norm;
  sqil_linear head;          // (bins, width), row b is the logit of bin b; no rows beside action_head
  const sqil_action_head *action_head;  // null where the answer is tokens
  int32_t layer_count;
  int32_t width;
  int32_t heads;
  int32_t key_heads;
  int32_t head_width;
  int32_t capacity;          // most tokens of prompt and answer together
  int32_t answers;           // action tokens, or states that the action head reads
  int32_t first_token;       // token of bin 0; bin b is first_token - b
  int32_t median;            // bin_choice: 0 argmax, 1 median
  int32_t memory_bits;       // of keys and values that are kept: 16 or 32
  float epsilon;
} sqil_decoder;

typedef struct {
  sqil_norm before, between;
  sqil_linear query, key, value, output, up, down;
  const float *attention_gain;  // (width) or null
  const float *mlp_gain;        // (width) or null
} sqil_encoder_layer;

// A vision transformer, read before its last norm.
typedef struct {
  const sqil_encoder_layer *layers;
  sqil_linear patch;       // (width, 3 * side * side)
  const float *prefix;     // (prefix_count, width): class and register tokens, positions added
  const float *positions;  // (patches, width)
  int32_t layer_count;
  int32_t width;
  int32_t heads;
  int32_t prefix_count;
  int32_t first_channel;   // of the three that it sees
  int32_t gelu_tanh;       // the tanh approximation of GELU
  float epsilon;
} sqil_encoder;

// Pictures and proprioception to tokens of the decoder.
typedef struct {
  sqil_encoder encoders[2];
  sqil_linear projector[3];
  sqil_linear proprio[2];  // tiles are null where there is no proprioception
  int32_t cameras;
  int32_t image_side;      // pixels
  int32_t patch_side;      // pixels
  int32_t merge;           // side of the square of patches that becomes one token
} sqil_vision;

typedef struct sqil_step sqil_step;

int32_t sqil_interface(void);

// Instruction set: "avx512vnni", "avx512", "avxvnni", "avx2", "portable"; the best of this machine,
// or as chosen.
const char *sqil_level(void);
// 0, or -1 where the machine or the build lacks it.
int32_t sqil_choose_level(const char *name);

// 32-bit words of a layer's tiles; 0 for a width that does not exist.
int64_t sqil_tile_words(int32_t rows, int32_t columns, int32_t bits);
// Portable packed rows (sqil_ros/quant/packing.py) to tiles and back; bits 2, 3, 4, 8, 16.
void sqil_tiles_from_rows(const uint8_t *packed, int32_t rows, int32_t columns, int32_t bits,
                          uint32_t *tiles);
void sqil_rows_from_tiles(const uint32_t *tiles, int32_t rows, int32_t columns, int32_t bits,
                          uint8_t *packed);
// (rows, columns) float32 to tiles of 16 bits (rounded towards zero) or 32.
void sqil_tiles_from_floats(const float *weight, int32_t rows, int32_t columns, int32_t bits,
                            uint32_t *tiles);

// (count, columns) to (count, rows).
void sqil_multiply(const sqil_linear *layer, const float *x, int64_t x_stride, int32_t count,
                   float *y, int64_t y_stride, int32_t threads);

// Reads so many words and does nothing with them: what memory can give; returns their sum.
uint32_t sqil_read(const uint32_t *words, int64_t count, int32_t threads);

// Room for one control step; null where memory does not suffice.
sqil_step *sqil_step_new(const sqil_vision *vision, const sqil_decoder *decoder, int32_t threads);
void sqil_step_free(sqil_step *step);
// (cameras, 6, side, side) pixels and (proprio) numbers to the tokens that follow BOS.
void sqil_step_see(sqil_step *step, const float *pixels, const float *proprio);
// The embeddings (count, width) of a prompt to `answers` action tokens; 0, or -1 where they exceed
// the capacity.
int32_t sqil_step_decode(sqil_step *step, const float *words, int32_t count, int64_t *answer);
// The same to the actions of an action head, one after the other; 0, or -1 as above.
int32_t sqil_step_plan(sqil_step *step, const float *words, int32_t count, float *actions);
// What the last step computed, for tests: (seen, width), (answers, width), (answers, bins).
void sqil_step_peek(const sqil_step *step, float *seen, float *states, float *logits);
// Of the last answer: seconds until its first token (of a plan: its states) was known, and until all.
void sqil_step_seconds(const sqil_step *step, double *prefill, double *answer);
// Bytes that a step holds beside the weights.
int64_t sqil_step_bytes(const sqil_step *step);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
