# SPDX-License-Identifier: Apache-2.0
"""Two roundings of one matrix, and of each row the one that errs less."""

from __future__ import annotations

import torch
from torch import Tensor

from sqil_ros.quant.primitives import Quantized
from sqil_training.ptq.statistics import InputStatistics, output_errors


def better_rows(
    weight: Tensor, inputs: InputStatistics, safe: Quantized, bold: Quantized
) -> Quantized:
    """Rows of ``bold`` where they err less on the inputs, else of ``safe``.

    Rows do not see each other, so the result is never worse than either. That is ours, not of the
    papers: a greedy search may lose on a row, and then costs nothing.

    Args:
        weight: (out, in) float32 that both stand for.
        inputs: of the layer.
        safe: on the same grid as ``bold``.
        bold: what replaces it where it is better.
    """
    won = output_errors(weight, bold, inputs) < output_errors(weight, safe, inputs)

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(won.view(-1, *[1] * (a.ndim - 1)), a, b)

    zero = None
    if safe.zero is not None and bold.zero is not None:
        zero = choose(bold.zero, safe.zero)
    codes, scale = choose(bold.codes, safe.codes), choose(bold.scale, safe.scale)
    return Quantized(codes, scale, safe.bits, zero)
