# SPDX-License-Identifier: Apache-2.0
"""One to eight rows of activations: reading the weights takes the time.

A program is one warp, and everything in it lies as the words do: nothing goes through shared
memory, which would cost more than the arithmetic. Several rows of activations are several programs
side by side, of which the first brings the weights into the cache for the others.
"""

from __future__ import annotations

import triton
import triton.language as tl

from sqil_ros.quant.triton_kernels.codes import float_codes, load_words


@triton.jit
def row_sums(
    x_at,
    words_at,
    scale_at,
    zero_at,
    row,
    there,
    inputs,
    row_words,
    group,
    groups,
    lift,
    BITS: tl.constexpr,
    HAS_ZERO: tl.constexpr,
    GROUPED: tl.constexpr,
    OUTPUTS: tl.constexpr,
    WORDS: tl.constexpr,
):
    """(OUTPUTS,) float32 products of rows of codes with one row of activations.

    Args:
        x_at: (inputs,) activations.
        words_at: (out, row_words) int32 of the layout.
        scale_at: (out, groups) float32.
        zero_at: int8 like the scales.
        row: (OUTPUTS,) int64 rows of codes.
        there: (OUTPUTS,) which of them exist.
        inputs: length of the row of activations.
        row_words: words of a row of codes.
        group: inputs that share a scale, where GROUPED a multiple of 32.
        groups: scales of a row.
        lift: see :func:`float_codes`.
        BITS: width of a code.
        HAS_ZERO: whether codes have zero points.
        GROUPED: whether a row has several scales; WORDS must then be 32.
        OUTPUTS: rows of codes at a time.
        WORDS: words of each at a time.
    """
    PLACES: tl.constexpr = 16 if BITS == 3 else 32 // BITS
    low_words = row_words
    if BITS == 3:
        low_words = row_words // 3 * 2
    word = tl.arange(0, WORDS)
    # Without groups the scale waits for the sum.
    scale = tl.load(scale_at + row * groups, mask=there, other=0.0)
    zero = tl.zeros([OUTPUTS], tl.float32)
    if HAS_ZERO:
        zero = tl.load(zero_at + row * groups, mask=there, other=0).to(tl.float32)
    total = tl.zeros([OUTPUTS, WORDS], tl.float32)
    for block in range(0, low_words // 32, WORDS // 32):
        low, top = load_words(words_at, row, there, block, row_words, BITS, WORDS)
        for place in tl.static_range(PLACES):
            column = (block + word // 32) * (32 * PLACES) + place * 32 + word % 32
            if GROUPED:
                index = (block * PLACES + place) * 32 // group
                known = there & (index < groups)
                at = row * groups + index
                scale = tl.load(scale_at + at, mask=known, other=0.0)
                if HAS_ZERO:
                    zero = tl.load(zero_at + at, mask=known, other=0).to(tl.float32)
            weight = float_codes(low, top, zero[:, None], lift, place, BITS)
            if GROUPED:
                weight = weight * scale[:, None]
            # Four at a time, as words are loaded: each thread then has what it multiplies.
            column = tl.max_contiguous(column, 4)
            x = tl.load(x_at + column, mask=column < inputs, other=0.0).to(tl.float32)
            total += weight * x[None, :]
    sums = tl.sum(total, axis=1)
    if not GROUPED:
        sums = sums * scale
    return sums


@triton.jit
def few_rows(
    x_at,
    words_at,
    scale_at,
    zero_at,
    bias_at,
    y_at,
    outputs,
    inputs,
    row_words,
    group,
    groups,
    lift,
    BITS: tl.constexpr,
    HAS_ZERO: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    GROUPED: tl.constexpr,
    OUTPUTS: tl.constexpr,
    WORDS: tl.constexpr,
):
    """(rows, inputs) activations to (rows, outputs), a row by OUTPUTS of them in a program.

    See :func:`row_sums`; programs of the same outputs are neighbours.
    """
    token = tl.program_id(0).to(tl.int64)
    row = (tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)).to(tl.int64)
    there = row < outputs
    sums = row_sums(
        x_at + token * inputs, words_at, scale_at, zero_at, row, there, inputs, row_words, group,
        groups, lift, BITS, HAS_ZERO, GROUPED, OUTPUTS, WORDS,
    )  # fmt: skip
    if HAS_BIAS:
        sums += tl.load(bias_at + row, mask=there, other=0.0).to(tl.float32)
    tl.store(y_at + token * outputs + row, sums.to(y_at.dtype.element_ty), mask=there)
