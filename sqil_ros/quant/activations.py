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
class InputRule:
    """What a profile says of the inputs of layers.

    Attributes:
        bits: width of a code, 4 or 8.
        static: True where every layer has a calibrated step, False for a step per token.
        prompt_only: True where a token that comes alone, as every action token does, keeps its
            inputs in floating point: reading weights takes its time, not multiplying.
    """

    bits: int
    static: bool = False
    prompt_only: bool = False

    def inputs(self, step: Tensor | None) -> Inputs:
        """Those of a layer with its step; None for one per token."""
        return Inputs(self.bits, step, self.prompt_only)


@dataclass(frozen=True)
class Activations:
    """How the inputs of quantised layers are rounded.

    Attributes:
        bits: width of a code, 4 or 8.
        steps: the static step of every layer by name; None for dynamic steps.
        prompt_only: see :class:`InputRule`.
    """

    bits: int
    steps: Mapping[str, float] | None = None
    prompt_only: bool = False

    def __post_init__(self) -> None:
        """Refuse widths that nothing else knows."""
        check_width(self.bits)

    @property
    def rule(self) -> InputRule:
        """The same without numbers."""
        return InputRule(self.bits, self.steps is not None, self.prompt_only)

    def of(self, layer: str) -> Inputs:
        """The inputs of one layer."""
        step = None if self.steps is None else torch.tensor(self.steps[layer])
        return self.rule.inputs(step)


@dataclass(frozen=True)
class Inputs:
    """How the inputs of one layer are rounded.

    Attributes:
        bits: width of a code, 4 or 8.
        step: () static step; None for one per token.
        prompt_only: see :class:`InputRule`.
    """

    bits: int
    step: Tensor | None = None
    prompt_only: bool = False

    @property
    def rule(self) -> InputRule:
        """The same without numbers."""
        return InputRule(self.bits, self.step is not None, self.prompt_only)

    def meant_for(self, x: Tensor) -> bool:
        """Whether inputs (..., tokens, features) are rounded; without tokens they are one."""
        return not self.prompt_only or (x.ndim > 2 and x.shape[-2] > 1)


def rounded(x: Tensor, inputs: Inputs | None) -> Tensor:
    """(..., features) on their grid; as they are without one."""
    if inputs is None or not inputs.meant_for(x):
        return x
    return round_activations(x, inputs.bits, inputs.step)


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
