# SPDX-License-Identifier: Apache-2.0
"""From words of :mod:`.layout` to numbers, inside a kernel."""

from __future__ import annotations

import triton
import triton.language as tl

LIFT = 150 << 23
"""The bits of 2^23 as float32."""


@triton.jit
def load_words(words_at, row, there, block, row_words, BITS: tl.constexpr, WORDS: tl.constexpr):
    """Words of rows from block ``block`` on: those of low bits, and for 3 bits of top bits.

    Args:
        words_at: (out, row_words) int32.
        row: (outputs,) int64 rows.
        there: (outputs,) which of them exist.
        block: first block of 32 words of low bits.
        row_words: words of a row.
        BITS: width of a code.
        WORDS: how many of every row, a multiple of 32.

    Returns:
        Twice (outputs, WORDS) int32; the second is nothing of its own where there are no top bits.
    """
    low_words = row_words
    if BITS == 3:
        low_words = row_words // 3 * 2
    word = block * 32 + tl.arange(0, WORDS)
    mask = there[:, None] & (word < low_words)[None, :]
    base = words_at + row[:, None] * row_words
    low = tl.load(base + word[None, :], mask=mask, other=0)
    top = low
    if BITS == 3:
        index = word // 32
        pair = low_words + index // 2 * 32 + word % 32
        top = tl.load(base + pair[None, :], mask=mask, other=0) >> (index % 2)[None, :]
    return low, top


@triton.jit
def float_codes(low, top, zero, lift, PLACE: tl.constexpr, BITS: tl.constexpr):
    """Codes of one place less their zero points, as float32.

    The bits go into the mantissa of a power of two that stands for 1 in their place, which is
    taken off again: two instructions a code and no conversion. Everything is a whole number below
    2^24, hence exact. ``lift`` is always ``LIFT``, but an argument of the kernel: were it known
    to the compiler, it would take two instructions, each with a constant, to mask and to lift.
    """
    LOW: tl.constexpr = 2 if BITS == 3 else BITS
    HALF: tl.constexpr = PLACE * LOW // 16 * 16
    AT: tl.constexpr = PLACE * LOW - HALF
    bits = (low >> HALF) & (((1 << LOW) - 1) << AT)
    if BITS == 3:
        bits = bits | (((top >> HALF) << 2) & (4 << AT))
    lifted = (bits | (lift - (AT << 23))).to(tl.float32, bitcast=True)
    return lifted - (zero + ((1 << (23 - AT)) + (1 << (BITS - 1))))


@triton.jit
def integer_codes(low, top, PLACE: tl.constexpr, BITS: tl.constexpr):
    """Codes of one place as int8."""
    LOW: tl.constexpr = 2 if BITS == 3 else BITS
    bits = (low >> (PLACE * LOW)) & ((1 << LOW) - 1)
    if BITS == 3:
        bits = bits | (((top >> (2 * PLACE)) & 1) << 2)
    return (bits - (1 << (BITS - 1))).to(tl.int8)
