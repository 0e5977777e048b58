# SPDX-License-Identifier: Apache-2.0
"""More rows of activations than a few: tensor cores multiply, codes are taken apart on the way."""

from __future__ import annotations

import triton
import triton.language as tl

from sqil_ros.quant.triton_kernels.codes import float_codes, integer_codes, load_words


@triton.jit
def many_rows(
    x_at,
    step_at,
    words_at,
    scale_at,
    zero_at,
    bias_at,
    places_at,
    y_at,
    rows,
    outputs,
    inputs,
    row_words,
    group,
    groups,
    y_width,
    lift,
    BITS: tl.constexpr,
    CODES: tl.constexpr,
    HAS_ZERO: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_PLACES: tl.constexpr,
    GROUPED: tl.constexpr,
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
):
    """(rows, inputs) activations to (rows, y_width), ROWS by OUTPUTS of them in a program.

    Codes are exact in bfloat16 and float16, and so are their products; sums are float32, or int32
    where activations are codes as well. Rows of codes are the left side of the product: what is
    taken apart in registers may stay there.

    Args:
        x_at: activations; int8 codes where CODES.
        step_at: (rows,) float32, what a code of each row is worth.
        words_at: (outputs, row_words) int32 of the layout.
        scale_at: (outputs, groups) float32.
        zero_at: int8 like the scales.
        bias_at: (y_width,).
        places_at: (outputs,) int32, where outputs go.
        y_at: result.
        rows: of activations.
        outputs: rows of codes.
        inputs: length of a row of activations.
        row_words: words of a row of codes.
        group: inputs that share a scale, where GROUPED a multiple of 32.
        groups: scales of a row.
        y_width: length of a row of the result.
        lift: see :func:`float_codes`.
        BITS: width of a code.
        CODES: whether activations are codes.
        HAS_ZERO: whether weights have zero points.
        HAS_BIAS: whether there is a bias.
        HAS_PLACES: whether outputs do not go where their rows are.
        GROUPED: whether a row has several scales.
        ROWS: rows of activations of a program, at least 16.
        OUTPUTS: outputs of a program, at least 16.
    """
    PLACES: tl.constexpr = 16 if BITS == 3 else 32 // BITS
    low_words = row_words
    if BITS == 3:
        low_words = row_words // 3 * 2
    row = (tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)).to(tl.int64)
    token = (tl.program_id(1) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    lane = tl.arange(0, 32)
    there, seen = row < outputs, token < rows
    scale = tl.load(scale_at + row * groups, mask=there, other=0.0)
    zero = tl.zeros([OUTPUTS], tl.float32)
    if HAS_ZERO:
        zero = tl.load(zero_at + row * groups, mask=there, other=0).to(tl.float32)
    WHOLE: tl.constexpr = CODES and not GROUPED
    total = tl.zeros([OUTPUTS, ROWS], tl.int32 if WHOLE else tl.float32)
    added = tl.zeros([ROWS], tl.int32)
    for block in range(0, low_words // 32):
        low, top = load_words(words_at, row, there, block, row_words, BITS, 32)
        for place in tl.static_range(PLACES):
            column = (block * PLACES + place) * 32 + lane
            x = tl.load(
                x_at + token[None, :] * inputs + column[:, None],
                mask=(column < inputs)[:, None] & seen[None, :],
                other=0,
            )
            if GROUPED:
                index = (block * PLACES + place) * 32 // group
                known = there & (index < groups)
                at = row * groups + index
                scale = tl.load(scale_at + at, mask=known, other=0.0)
                if HAS_ZERO:
                    zero = tl.load(zero_at + at, mask=known, other=0).to(tl.float32)
            if CODES:
                weight = integer_codes(low, top, place, BITS)
                if GROUPED:
                    part = tl.dot(weight, x, out_dtype=tl.int32).to(tl.float32)
                    if HAS_ZERO:
                        part -= zero[:, None] * tl.sum(x.to(tl.int32), axis=0)[None, :]
                    total += part * scale[:, None]
                else:
                    total = tl.dot(weight, x, total, out_dtype=tl.int32)
                    if HAS_ZERO:
                        added += tl.sum(x.to(tl.int32), axis=0)
            else:
                weight = float_codes(low, top, zero[:, None], lift, place, BITS).to(x.dtype)
                if GROUPED:
                    total += tl.dot(weight, x, input_precision='ieee') * scale[:, None]
                else:
                    total = tl.dot(weight, x, total, input_precision='ieee')
    if WHOLE and HAS_ZERO:
        total -= zero.to(tl.int32)[:, None] * added[None, :]
    y = total.to(tl.float32)
    if not GROUPED:
        y = y * scale[:, None]
    if CODES:
        y = y * tl.load(step_at + token, mask=seen, other=0.0)[None, :]
    goal = row
    if HAS_PLACES:
        goal = tl.load(places_at + row, mask=there, other=0).to(tl.int64)
    if HAS_BIAS:
        y += tl.load(bias_at + goal, mask=there, other=0.0).to(tl.float32)[:, None]
    at = y_at + token[None, :] * y_width + goal[:, None]
    tl.store(at, y.to(y_at.dtype.element_ty), mask=there[:, None] & seen[None, :])
