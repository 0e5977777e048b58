# SPDX-License-Identifier: Apache-2.0
"""GPTQ: round column by column, and let the columns that are left make up for every error.

Frantar et al., "GPTQ", arXiv 2210.17323: equation 2 (the update of the remaining weights), the
Cholesky form of section 3.3 step 3, damping by 1 % of the mean diagonal, lazy blocks of 128
columns. Columns go in the order of falling diag H, and the steps are those of the weights before
any update ("act-order" and "static groups" of the authors' code), so the codes stay in the order
of the inputs. Inferences: float64 for the factorisation; a row that ends worse than plain rounding
keeps plain rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sqil_ros.quant.primitives import (
    Quantized,
    Steps,
    dequantize,
    find_steps,
    round_onto,
)
from sqil_training.ptq.method import Options
from sqil_training.ptq.rows import better_rows
from sqil_training.ptq.statistics import InputStatistics

DAMPING = 0.01
_BLOCK = 128


def round_with_feedback(
    name: str, weight: Tensor, inputs: InputStatistics | None, options: Options
) -> Quantized:
    """A :class:`sqil_training.ptq.method.Rounding`."""
    assert inputs is not None
    bits, steps = options.grid.bits, find_steps(weight, options.grid)
    nearest = round_onto(weight, steps, bits)
    order = inputs.gram.diagonal().argsort(descending=True, stable=True)
    if inputs.gram.diagonal()[order[0]] == 0.0:
        return nearest  # the layer never saw anything but zeros
    codes = torch.empty_like(nearest.codes)
    codes[:, order] = _greedy(
        weight[:, order],
        _factor(inputs.gram[order][:, order]),
        _by_column(steps, weight.shape[1], order),
        bits,
    )
    return better_rows(weight, inputs, nearest, Quantized(codes, steps.scale, bits, steps.zero))


def _greedy(weight: Tensor, factor: Tensor, steps: Steps, bits: int) -> Tensor:
    """(out, in) int8 codes.

    Args:
        weight: (out, in), its columns in the order of rounding.
        factor: (in, in) of :func:`_factor`.
        steps: (out, in), one for every weight.
        bits: width of a code.
    """
    weight = weight.clone()
    codes = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    for start in range(0, weight.shape[1], _BLOCK):
        end = min(start + _BLOCK, weight.shape[1])
        errors = torch.empty_like(weight[:, start:end])
        for i in range(start, end):
            column = weight[:, i : i + 1]
            rounded = round_onto(column, _column(steps, i), bits)
            codes[:, i : i + 1] = rounded.codes
            error = (column - dequantize(rounded)) / factor[i, i]
            weight[:, i + 1 : end] -= error * factor[i, i + 1 : end]
            errors[:, i - start : i - start + 1] = error
        weight[:, end:] -= errors @ factor[start:end, end:]
    return codes


def _factor(gram: Tensor) -> Tensor:
    """Upper Cholesky factor of the inverse of the damped Hessian; 2 x x^T up to a constant."""
    hessian = gram.to(torch.float64, copy=True)
    hessian.diagonal().add_(DAMPING * hessian.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    return torch.linalg.cholesky(inverse, upper=True).to(gram.dtype)


def _by_column(steps: Steps, columns: int, order: Tensor) -> Steps:
    """One step for every weight, columns in ``order``."""

    def spread(values: Tensor) -> Tensor:
        runs = values.reshape(len(values), -1)
        return runs.repeat_interleave(columns // runs.shape[1], dim=1)[:, order]

    return Steps(spread(steps.scale), None if steps.zero is None else spread(steps.zero))


def _column(steps: Steps, i: int) -> Steps:
    return Steps(steps.scale[:, i], None if steps.zero is None else steps.zero[:, i])
