# SPDX-License-Identifier: Apache-2.0
"""Rows of several widths in one launch, for few rows of activations.

Each program looks up in a table which width it has and which rows; a tile takes about the same
bytes at every width, so that programs end together.
"""

from __future__ import annotations

import triton
import triton.language as tl

from sqil_ros.quant.triton_kernels.few_rows import row_sums

FIELDS = 4
"""Of a tile: width, first row in its band, rows, and its first place in the order of bands."""

TILE_ROWS = {0: 256, 2: 8, 3: 4, 4: 4, 8: 2, 16: 1}
"""Rows of a tile by width; as written out in :func:`mixed_rows`."""


@triton.jit
def kept_sums(
    x_at, kept_at, row, there, inputs, kept_width, OUTPUTS: tl.constexpr, COLUMNS: tl.constexpr
):
    """(OUTPUTS,) products of bfloat16 rows with one row of activations."""
    offset = tl.arange(0, COLUMNS)
    total = tl.zeros([OUTPUTS, COLUMNS], tl.float32)
    for start in range(0, inputs, COLUMNS):
        column = start + offset
        mask = column < inputs
        at = kept_at + row[:, None] * kept_width + column[None, :]
        weight = tl.load(at, mask=there[:, None] & mask[None, :], other=0.0).to(tl.float32)
        x = tl.load(x_at + column, mask=mask, other=0.0).to(tl.float32)
        total += weight * x[None, :]
    return tl.sum(total, axis=1)


@triton.jit
def put(sums, places_at, bias_at, y_at, there, HAS_BIAS: tl.constexpr, OUTPUTS: tl.constexpr):
    """Store (OUTPUTS,) sums where their rows belong, with the bias that belongs there."""
    place = tl.load(places_at + tl.arange(0, OUTPUTS), mask=there, other=0)
    if HAS_BIAS:
        sums += tl.load(bias_at + place, mask=there, other=0.0).to(tl.float32)
    tl.store(y_at + place, sums.to(y_at.dtype.element_ty), mask=there)


@triton.jit
def packed_tile(
    x_at,
    words_at,
    scale_at,
    zero_at,
    places_at,
    bias_at,
    y_at,
    first,
    count,
    inputs,
    row_words,
    lift,
    BITS: tl.constexpr,
    HAS_ZERO: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    WORDS: tl.constexpr,
):
    """The product of one tile: ``count`` rows of a band from row ``first`` on."""
    index = tl.arange(0, OUTPUTS)
    there = index < count
    row = (first + index).to(tl.int64)
    sums = row_sums(
        x_at, words_at, scale_at, zero_at, row, there, inputs, row_words, inputs, 1, lift, BITS,
        HAS_ZERO, False, OUTPUTS, WORDS,
    )  # fmt: skip
    put(sums, places_at, bias_at, y_at, there, HAS_BIAS, OUTPUTS)


@triton.jit
def mixed_rows(
    x_at,
    tiles_at,
    words_2_at,
    words_3_at,
    words_4_at,
    words_8_at,
    kept_at,
    scale_at,
    zero_at,
    places_at,
    bias_at,
    y_at,
    inputs,
    outputs,
    row_words_2,
    row_words_3,
    row_words_4,
    row_words_8,
    kept_width,
    lift,
    HAS_ZERO: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    WORDS: tl.constexpr,
):
    """(rows, inputs) activations to (rows, outputs), one of both a program.

    Args:
        x_at: activations.
        tiles_at: (tiles, 4) int32, see ``FIELDS``.
        words_2_at: words of the rows at 2 bits.
        words_3_at: at 3 bits.
        words_4_at: at 4 bits.
        words_8_at: at 8 bits.
        kept_at: (n, kept_width) bfloat16 rows at 16 bits.
        scale_at: float32 of every row, in the order of bands.
        zero_at: int8, likewise.
        places_at: int32, the output of every row, likewise.
        bias_at: of every output.
        y_at: result.
        inputs: length of a row of activations.
        outputs: length of a row of the result.
        row_words_2: words of a row at 2 bits.
        row_words_3: at 3 bits.
        row_words_4: at 4 bits.
        row_words_8: at 8 bits.
        kept_width: distance of rows at 16 bits.
        lift: see :func:`float_codes`.
        HAS_ZERO: whether weights have zero points.
        HAS_BIAS: whether there is a bias.
        WORDS: words of a row at a time.
    """
    token = tl.program_id(0).to(tl.int64)
    tile = tiles_at + tl.program_id(1) * 4
    bits, first, count = tl.load(tile), tl.load(tile + 1), tl.load(tile + 2)
    start = tl.load(tile + 3)
    x_at += token * inputs
    y_at += token * outputs
    places_at += start
    # Rows are counted from the first of their band.
    scale_at += start - first
    zero_at += start - first
    if bits == 4:
        packed_tile(
            x_at, words_4_at, scale_at, zero_at, places_at, bias_at, y_at, first, count, inputs,
            row_words_4, lift, 4, HAS_ZERO, HAS_BIAS, 4, WORDS,
        )  # fmt: skip
    elif bits == 2:
        packed_tile(
            x_at, words_2_at, scale_at, zero_at, places_at, bias_at, y_at, first, count, inputs,
            row_words_2, lift, 2, HAS_ZERO, HAS_BIAS, 8, WORDS,
        )  # fmt: skip
    elif bits == 3:
        packed_tile(
            x_at, words_3_at, scale_at, zero_at, places_at, bias_at, y_at, first, count, inputs,
            row_words_3, lift, 3, HAS_ZERO, HAS_BIAS, 4, WORDS,
        )  # fmt: skip
    elif bits == 8:
        packed_tile(
            x_at, words_8_at, scale_at, zero_at, places_at, bias_at, y_at, first, count, inputs,
            row_words_8, lift, 8, HAS_ZERO, HAS_BIAS, 2, WORDS,
        )  # fmt: skip
    elif bits == 16:
        index = tl.arange(0, 1)
        row = (first + index).to(tl.int64)
        sums = kept_sums(x_at, kept_at, row, index < count, inputs, kept_width, 1, 2 * WORDS)
        put(sums, places_at, bias_at, y_at, index < count, HAS_BIAS, 1)
    else:
        nothing = tl.zeros([256], tl.float32)
        put(nothing, places_at, bias_at, y_at, tl.arange(0, 256) < count, HAS_BIAS, 256)
