# SPDX-License-Identifier: Apache-2.0
"""Uniform quantisation of a weight matrix: per output row or per group of inputs.

The quantiser of SQIL (methods.md 1.2), symmetric, with one scale per row::

    code = clip(round(w / scale), -2^(b-1), 2^(b-1) - 1)        w_hat = scale * code

with ``scale = max|w| / (2^(b-1) - 1)``. That choice never clips, so round-to-nearest does not use
the lowest code, -2^(b-1); calibration methods that shrink the scale may. Ties round to even.

A grid with zero points (asymmetric, methods.md 5.1) spends all 2^b codes on [min w, max w]::

    code = clip(round(w / scale) + zero, -2^(b-1), 2^(b-1) - 1)     w_hat = scale * (code - zero)

with ``scale = (max w - min w) / (2^b - 1)`` and ``zero = round(-min w / scale) - 2^(b-1)``. The
range is widened to hold 0, so that 0 stays 0 and the zero point is a code (inference: the formula
of the sources leaves rows of one sign open).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sqil_ros.errors import ParameterError, ProfileError

WIDTHS = range(2, 9)
WHOLE_ROW = 0


@dataclass(frozen=True)
class Grid:
    """Which values the weights of a matrix may take.

    Attributes:
        bits: width of a code, 2 to 8.
        group_size: inputs that share a scale; ``WHOLE_ROW`` for all inputs of a row.
        symmetric: False for a zero point beside every scale.
    """

    bits: int
    group_size: int = WHOLE_ROW
    symmetric: bool = True


class Steps(NamedTuple):
    """What a code is worth: ``scale * (code - zero)``.

    Attributes:
        scale: float32, (out,) of each row or (out, groups) of equal runs of inputs.
        zero: int8 of the shape of ``scale``, the code that stands for 0; None if that is 0.
    """

    scale: Tensor
    zero: Tensor | None = None


@dataclass(frozen=True)
class Quantized:
    """An integer weight matrix.

    Attributes:
        codes: (out, in) int8, each within :func:`code_range` of ``bits``.
        scale: see :class:`Steps`.
        bits: width of a code, 2 to 8.
        zero: see :class:`Steps`.
    """

    codes: Tensor
    scale: Tensor
    bits: int
    zero: Tensor | None = None

    @property
    def steps(self) -> Steps:
        """Scale and zero point."""
        return Steps(self.scale, self.zero)

    @property
    def grid(self) -> Grid:
        """The grid that the weights lie on."""
        whole = self.scale.ndim == 1
        size = WHOLE_ROW if whole else self.codes.shape[1] // self.scale.shape[1]
        return Grid(self.bits, size, self.zero is None)


def code_range(bits: int) -> tuple[int, int]:
    """Smallest and largest code of a width.

    Raises:
        ParameterError: the width is not 2 to 8.
    """
    if bits not in WIDTHS:
        raise ParameterError(
            f'a weight width of {bits} bits is not supported; choose {WIDTHS[0]} to {WIDTHS[-1]}'
        )
    half = 1 << (bits - 1)
    return -half, half - 1


def group_count(in_features: int, group_size: int) -> int:
    """Scales per row.

    Raises:
        ParameterError: the groups do not divide the inputs.
    """
    if group_size == WHOLE_ROW:
        return 1
    if group_size < 0 or in_features % group_size:
        raise ParameterError(
            f'a group size of {group_size} does not divide the {in_features} inputs of the layer; '
            f'choose a divisor of {in_features}, or {WHOLE_ROW} for whole rows'
        )
    return in_features // group_size


def quantize(weight: Tensor, grid: Grid | int) -> Quantized:
    """Round a weight matrix to the nearest code.

    Args:
        weight: (out, in) floating point.
        grid: an integer is the width of a symmetric grid with one scale per row.

    Raises:
        ParameterError: the width is not 2 to 8, or groups do not divide the inputs.
        ProfileError: the weight is not a finite matrix.
    """
    grid = grid if isinstance(grid, Grid) else Grid(grid)
    weight = checked_weight(weight)
    return round_onto(weight, find_steps(weight, grid), grid.bits)


def find_steps(weight: Tensor, grid: Grid) -> Steps:
    """The steps that just hold every weight; (out,) where one group is a whole row.

    Args:
        weight: (out, in) float32.
        grid: of the codes.

    Raises:
        ParameterError: the width is not 2 to 8, or groups do not divide the inputs.
    """
    lowest, highest = code_range(grid.bits)
    runs = _runs(weight, group_count(weight.shape[1], grid.group_size))
    if grid.symmetric:
        scale, zero = _usable(runs.abs().amax(-1) / highest), None
    else:
        least = runs.amin(-1).clamp(max=0.0)
        scale = _usable((runs.amax(-1).clamp(min=0.0) - least) / (highest - lowest))
        zero = (torch.round(-least / scale) + lowest).clamp_(lowest, highest).to(torch.int8)
    if scale.shape[1] == 1:
        scale, zero = scale[:, 0], None if zero is None else zero[:, 0]
    return Steps(scale, zero)


def round_onto(weight: Tensor, steps: Steps, bits: int) -> Quantized:
    """The nearest codes of a (out, in) float32 weight under given steps."""
    lowest, highest = code_range(bits)
    scale, zero = steps
    codes = torch.round(_runs(weight, _groups_of(scale)) / _per_run(scale))
    if zero is not None:
        codes = codes.add_(_per_run(zero))
    codes = codes.clamp_(lowest, highest).to(torch.int8)
    return Quantized(codes.reshape(weight.shape), scale, bits, zero)


def dequantize(quantized: Quantized, dtype: torch.dtype = torch.float32) -> Tensor:
    """The (out, in) weights that the codes stand for: the inverse of :func:`quantize`."""
    codes, scale, zero = quantized.codes, quantized.scale, quantized.zero
    weight = _runs(codes, _groups_of(scale)).to(torch.float32, copy=True)
    if zero is not None:
        weight = weight.sub_(_per_run(zero))
    return weight.mul_(_per_run(scale.float())).reshape(codes.shape).to(dtype)


def fake_quantize(weight: Tensor, grid: Grid | int) -> Tensor:
    """Weights (out, in) moved onto a grid but kept in their own dtype."""
    return dequantize(quantize(weight, grid), weight.dtype)


def relative_error(weight: Tensor, quantized: Quantized) -> float:
    """Frobenius norm of the weight error over that of the weight; 0 for a zero matrix."""
    weight = weight.detach().to(torch.float32)
    norm = float(torch.linalg.vector_norm(weight))
    error = float(torch.linalg.vector_norm(weight - dequantize(quantized)))
    return error / norm if norm else 0.0


def checked_weight(weight: Tensor) -> Tensor:
    """A weight as detached float32.

    Raises:
        ProfileError: it is not a finite matrix.
    """
    if weight.ndim != 2:
        raise ProfileError(
            f'a weight of shape {tuple(weight.shape)} has no output rows; '
            'only (out, in) matrices can be quantised'
        )
    weight = weight.detach().to(torch.float32)
    if not torch.isfinite(weight).all():
        count = int((~torch.isfinite(weight)).sum())
        raise ProfileError(
            f'{count} of {weight.numel()} weights are not finite; '
            'quantise a checkpoint from before the training diverged'
        )
    return weight


def _usable(scale: Tensor) -> Tensor:
    """Zeros (or denormals, whose quotient would overflow) get steps of 1 and codes of 0."""
    return torch.where(scale > torch.finfo(torch.float32).tiny, scale, 1.0)


def _groups_of(scale: Tensor) -> int:
    return 1 if scale.ndim == 1 else scale.shape[1]


def _runs(matrix: Tensor, groups: int) -> Tensor:
    """(out, in) to (out, groups, in / groups)."""
    return matrix.unflatten(1, (groups, matrix.shape[1] // groups))


def _per_run(steps: Tensor) -> Tensor:
    """(out,) or (out, groups) to what broadcasts against :func:`_runs`."""
    return steps.reshape(len(steps), -1, 1)
