# SPDX-License-Identifier: Apache-2.0
"""Learned step size quantisation of weights and activations (LSQ, Esser et al. 2020).

    v_hat = s * round(clip(v / s, -Q_N, Q_P))

with one learned step s for a whole tensor (arXiv 1902.08153, equations 1 to 3). It is what SQIL
trains where it quantises to W4A4 (CARLA and DeepMind Control). Ties round to even.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sqil_ros.errors import CalibrationError, ParameterError
from sqil_ros.quant.primitives import code_range

SMALLEST_STEP = torch.finfo(torch.float32).eps
"""A step that learning would push below stays here (inference: the paper is silent)."""


def code_span(bits: int, signed: bool) -> tuple[int, int]:
    """-Q_N and Q_P: the smallest and largest code of a width.

    Raises:
        ParameterError: the width is not 2 to 8.
    """
    lowest, highest = code_range(bits)
    return (lowest, highest) if signed else (0, highest - lowest)


def initial_step(values: Tensor, highest: int) -> Tensor:
    """2 <|v|> / sqrt(Q_P), () float32: the step that learning begins with (section 2.1).

    Values that are all zero have no magnitude to go by; their step is 1 (inference).

    Raises:
        CalibrationError: there are no values, or some are not finite.
    """
    if not values.numel() or not bool(torch.isfinite(values).all()):
        raise CalibrationError(
            f'a step cannot be found from {values.numel()} values of which '
            f'{int((~torch.isfinite(values)).sum())} are not finite; give it some that all are'
        )
    step = 2.0 * values.detach().float().abs().mean() / math.sqrt(highest)
    return torch.where(step > SMALLEST_STEP, step, 1.0)


def gradient_scale(count: int, highest: int) -> float:
    """1 / sqrt(N Q_P): lets a step learn as fast, for its size, as the weights do.

    Args:
        count: N, the weights of a layer or the features of its input (section 2.2).
        highest: Q_P.
    """
    return 1.0 / math.sqrt(count * highest)


class _Rounding(torch.autograd.Function):
    """v_hat with the gradients of equations 3 and 5."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, step: Tensor, lowest: int, highest: int, scale: float
    ) -> Tensor:
        ratio = values / step
        codes = ratio.clamp(lowest, highest).round_()
        ctx.save_for_backward((ratio > lowest) & (ratio < highest), codes - ratio, codes)
        ctx.scale, ctx.step_shape = scale, step.shape
        return codes * step

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        inside, error, codes = ctx.saved_tensors
        # Where a value is clipped, its code *is* -Q_N or Q_P.
        slope = torch.where(inside, error, codes)
        step = (above[0] * slope).sum_to_size(ctx.step_shape) * ctx.scale
        return above[0] * inside, step, None, None, None


def round_learned(
    values: Tensor, step: Tensor, lowest: int, highest: int, scale: float = 1.0
) -> Tensor:
    """Move values onto the grid of a learned step.

    Args:
        values: of any shape.
        step: above 0, s: () for one grid, or of a shape that broadcasts, such as (out, 1).
        lowest: -Q_N.
        highest: Q_P.
        scale: what the gradient of ``step`` is multiplied with, see :func:`gradient_scale`.

    Returns:
        Values of the same shape. Gradients pass straight through to values within the grid and
        stop at clipped ones; the step's is -Q_N or Q_P where clipped, else round(v/s) - v/s.
    """
    found = _Rounding.apply(values, step, lowest, highest, scale)
    assert isinstance(found, Tensor)
    return found


class LearnedStep(nn.Module):
    """The grid of one tensor.

    Attributes:
        step: () s, learned.
        bits: width of a code, 2 to 8.
        signed: whether codes below 0 exist.
    """

    def __init__(self, values: Tensor, bits: int, signed: bool, count: int) -> None:
        """Begin with the step that fits ``values``.

        Args:
            values: a sample of what will be rounded, of any shape.
            bits: width of a code.
            signed: False for values that are never negative.
            count: N of :func:`gradient_scale`.

        Raises:
            ParameterError: the width is not 2 to 8.
            CalibrationError: the sample is empty or not finite.
        """
        super().__init__()
        self.bits, self.signed = bits, signed
        self._span = code_span(bits, signed)
        self._scale = gradient_scale(count, self._span[1])
        self.step = nn.Parameter(initial_step(values, self._span[1]))

    def forward(self, values: Tensor) -> Tensor:
        """Values on their grid."""
        return round_learned(values, self.step.clamp(min=SMALLEST_STEP), *self._span, self._scale)


class LsqLinear(nn.Module):
    """A linear layer whose weight and inputs are rounded, each with one learned step.

    Everything learns: weight, bias (in floating point, as in the paper) and both steps.
    """

    def __init__(
        self, layer: nn.Linear, inputs: Tensor, weight_bits: int, input_bits: int
    ) -> None:
        """Begin at a full-precision layer.

        Args:
            layer: what is rounded; it is copied.
            inputs: (n, in) a sample of what it will see. The codes of inputs are unsigned where
                none of the sample is negative, as behind a ReLU.
            weight_bits: width of a weight's code.
            input_bits: width of an input's code.

        Raises:
            ParameterError: a width is not 2 to 8, or the sample does not fit the layer.
            CalibrationError: the sample is empty or not finite.
        """
        super().__init__()
        if inputs.ndim != 2 or inputs.shape[1] != layer.in_features:
            raise ParameterError(
                f'inputs of shape {tuple(inputs.shape)} cannot be those of a layer with '
                f'{layer.in_features} inputs; give a sample of shape (n, {layer.in_features})'
            )
        weight = layer.weight.detach().clone()
        self.weight = nn.Parameter(weight)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.weight_grid = LearnedStep(weight, weight_bits, True, weight.numel())
        signed = bool((inputs < 0.0).any())
        self.input_grid = LearnedStep(inputs, input_bits, signed, layer.in_features)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return linear(self.input_grid(x), self.weight_grid(self.weight), self.bias)
