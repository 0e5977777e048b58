# SPDX-License-Identifier: Apache-2.0
"""Scales moved from a tensor into the weights on both sides of it; the function stays."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sqil_training.ptq.architecture import ScalingGroup
from sqil_training.ptq.parts import bias_of, weight_of


@torch.no_grad()
def fold(model: nn.Module, group: ScalingGroup, scale: Tensor) -> None:
    """Divide what the source of a group writes, and multiply what its layers make of it.

    Args:
        model: changed in place.
        group: of :func:`sqil_training.ptq.architecture.scaling_groups`.
        scale: (channels,) positive.
    """
    weight, bias = weight_of(model, group.source), bias_of(model, group.source)
    weight.div_(scale.view(-1, *[1] * (weight.ndim - 1)))
    if bias is not None:
        bias.div_(scale)
    for name in group.layers:
        weight_of(model, name).mul_(scale)
