# SPDX-License-Identifier: Apache-2.0
"""Symmetric 8- and 4-bit activations: the inputs of a layer on a grid of their own.

    code = clip(round(x / step), -2^(b-1), 2^(b-1) - 1)        x_hat = step * code

A dynamic step belongs to one token, ``max|x| / (2^(b-1) - 1)`` over its features, and is found
while the layer runs. A static step belongs to the whole tensor and was found on calibration data
(per-token and per-tensor of SmoothQuant, arXiv 2211.10438, section 2); what lies beyond it clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sqil_ros.errors import ParameterError
from sqil_ros.quant.primitives import code_range

ACTIVATION_WIDTHS = (4, 8)


@dataclass(frozen=True)
class Activations:
    """How the inputs of quantised layers are rounded.

    Attributes:
        bits: width of a code, 4 or 8.
        steps: the static step of every layer by name; None for dynamic steps.
    """

    bits: int
    steps: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        """Refuse widths that nothing else knows."""
        check_width(self.bits)


@dataclass(frozen=True)
class Inputs:
    """How the inputs of one layer are rounded.

    Attributes:
        bits: width of a code, 4 or 8.
        step: () static step; None for one per token.
    """

    bits: int
    step: Tensor | None = None


def rounded(x: Tensor, inputs: Inputs | None) -> Tensor:
    """(..., features) on their grid; as they are without one."""
    return x if inputs is None else round_activations(x, inputs.bits, inputs.step)


def check_width(bits: int) -> None:
    """Refuse other widths than 4 and 8.

    Raises:
        ParameterError: another width.
    """
    if bits not in ACTIVATION_WIDTHS:
        raise ParameterError(
            f'activations of {bits} bits are not supported; choose one of {ACTIVATION_WIDTHS}'
        )


def static_step(peak: float, bits: int) -> float:
    """The step with which ``peak``, the largest magnitude seen, is the largest code."""
    return peak / code_range(bits)[1] if peak > 0.0 else 1.0


def round_activations(x: Tensor, bits: int, step: Tensor | None = None) -> Tensor:
    """Move activations onto their grid.

    Gradients pass straight through the rounding (methods.md 1.2), clipped values included.

    Args:
        x: (..., features).
        bits: width of a code, 4 or 8.
        step: () static step, or None for one per token.

    Returns:
        (..., features) in the dtype of ``x``.
    """
    lowest, highest = code_range(bits)
    values = x.detach().float()
    if step is None:
        step = values.abs().amax(-1, keepdim=True) / highest
        step = torch.where(step > torch.finfo(torch.float32).tiny, step, 1.0)
    rounded = torch.round(values / step).clamp_(lowest, highest).mul_(step).to(x.dtype)
    if x.requires_grad and torch.is_grad_enabled():
        return x + (rounded - x).detach()
    return rounded
