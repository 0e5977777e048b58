# SPDX-License-Identifier: Apache-2.0
"""Symmetric uniform quantisation of a weight matrix, one scale per output row.

The quantiser of SQIL (methods.md 1.2)::

    code = clip(round(w / scale), -2^(b-1), 2^(b-1) - 1)        w_hat = scale * code

with ``scale = max|w| / (2^(b-1) - 1)`` per row. That choice never clips, so round-to-nearest does
not use the lowest code, -2^(b-1); calibration methods that shrink the scale may. Ties round to
even.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sqil_ros.errors import ParameterError, ProfileError

WIDTHS = range(2, 9)


@dataclass(frozen=True)
class Quantized:
    """An integer weight matrix.

    Attributes:
        codes: (out, in) int8, each within :func:`code_range` of ``bits``.
        scale: (out,) float32, the value of one step of each row.
        bits: width of a code, 2 to 8.
    """

    codes: Tensor
    scale: Tensor
    bits: int


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


def quantize(weight: Tensor, bits: int) -> Quantized:
    """Round a weight matrix to the nearest code, row by row.

    Args:
        weight: (out, in) floating point.
        bits: width of a code, 2 to 8.

    Raises:
        ParameterError: the width is not 2 to 8.
        ProfileError: the weight is not a finite matrix.
    """
    lowest, highest = code_range(bits)
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
    scale = weight.abs().amax(dim=1) / highest
    # A row of zeros (or of denormals, whose quotient would overflow) becomes codes of zero.
    scale = torch.where(scale > torch.finfo(torch.float32).tiny, scale, 1.0)
    codes = torch.round(weight / scale[:, None]).clamp_(lowest, highest).to(torch.int8)
    return Quantized(codes, scale, bits)


def dequantize(quantized: Quantized, dtype: torch.dtype = torch.float32) -> Tensor:
    """The (out, in) weights that the codes stand for: the inverse of :func:`quantize`."""
    weight = quantized.codes.to(torch.float32).mul_(quantized.scale.float()[:, None])
    return weight.to(dtype)


def fake_quantize(weight: Tensor, bits: int) -> Tensor:
    """Weights (out, in) moved onto the grid of a width but kept in their own dtype."""
    return dequantize(quantize(weight, bits), weight.dtype)


def relative_error(weight: Tensor, quantized: Quantized) -> float:
    """Frobenius norm of the weight error over that of the weight; 0 for a zero matrix."""
    weight = weight.detach().to(torch.float32)
    norm = float(torch.linalg.vector_norm(weight))
    error = float(torch.linalg.vector_norm(weight - dequantize(quantized)))
    return error / norm if norm else 0.0
