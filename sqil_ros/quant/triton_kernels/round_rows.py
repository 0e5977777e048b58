# SPDX-License-Identifier: Apache-2.0
"""Activations to codes on the grid of :mod:`sqil_ros.quant.activations`, bit for bit."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def round_rows(
    x_at,
    static_at,
    codes_at,
    step_at,
    inputs,
    HIGHEST: tl.constexpr,
    STATIC: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One row of (rows, inputs) activations to int8 codes and the float32 step of the row.

    A row with an infinity or NaN gets the step NaN, and so answers NaN.

    Args:
        x_at: activations.
        static_at: () float32 step, where STATIC.
        codes_at: (rows, inputs) int8.
        step_at: (rows,) float32.
        inputs: length of a row.
        HIGHEST: the largest code.
        STATIC: False for a step of the row's own.
        COLUMNS: power of two, inputs at a time.
    """
    row = tl.program_id(0).to(tl.int64)
    offset = tl.arange(0, COLUMNS)
    peak = tl.zeros([COLUMNS], tl.float32)
    nothing = tl.zeros([COLUMNS], tl.float32)
    for start in range(0, inputs, COLUMNS):
        x = tl.load(x_at + row * inputs + start + offset, mask=start + offset < inputs, other=0.0)
        x = x.to(tl.float32)
        peak = tl.maximum(peak, tl.abs(x))
        nothing += x * 0.0  # NaN from an infinity or NaN on
    if STATIC:
        step = tl.load(static_at)
    else:
        step = tl.div_rn(tl.max(peak, axis=0), HIGHEST * 1.0)
        step = tl.where(step > 1.1754943508222875e-38, step, 1.0)
    for start in range(0, inputs, COLUMNS):
        there = start + offset < inputs
        x = tl.load(x_at + row * inputs + start + offset, mask=there, other=0.0).to(tl.float32)
        # Clipped first: adding 1.5 * 2^23 rounds small numbers only, half to even.
        code = tl.clamp(tl.div_rn(x, step), -HIGHEST - 1.0, HIGHEST * 1.0)
        code = (code + 12582912.0) - 12582912.0
        tl.store(codes_at + row * inputs + start + offset, code.to(tl.int8), mask=there)
    tl.store(step_at + row, step + tl.sum(nothing, axis=0))
