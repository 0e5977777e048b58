# SPDX-License-Identifier: Apache-2.0
"""SmoothQuant: hand the outliers of the activations to the weights, channel by channel.

Xiao et al., "SmoothQuant", arXiv 2211.10438, equation 4::

    s_j = max|X_j|^a / max|W_j|^(1 - a)        X' = X / s        W' = W s

X' is written by the norm before the layers, into which 1 / s is folded; W_j is column j of all
layers that read it. Rounding is RTN. It is meant for 8-bit activations; with activations in
floating point it only makes the weights harder to round.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from sqil_ros.errors import ParameterError
from sqil_training.ptq.architecture import blocks
from sqil_training.ptq.method import Options
from sqil_training.ptq.parts import weight_of
from sqil_training.ptq.scaling import fold
from sqil_training.ptq.statistics import Run, collect

_LEAST = 1e-5


def smooth(model: nn.Module, layers: Collection[str], options: Options, run: Run | None) -> None:
    """A :class:`sqil_training.ptq.method.Transform`.

    Raises:
        ParameterError: the exponent is not within 0 to 1.
    """
    assert run is not None
    if not 0.0 <= options.smoothing <= 1.0:
        raise ParameterError(
            f'a smoothing of {options.smoothing} is not within 0 (leave the activations) to 1 '
            '(flatten them); 0.5 is usual'
        )
    groups = [
        group
        for block in blocks(model).values()
        for group in block.reads
        if not set(layers).isdisjoint(group.layers)
    ]
    inputs = collect(model, [group.layers[0] for group in groups], run, gram=False)
    for group in groups:
        weights = [weight_of(model, name).detach().float() for name in group.layers]
        peak = inputs[group.layers[0]].peak
        fold(model, group, smoothing_scale(peak, weights, options.smoothing))


def smoothing_scale(peak: Tensor, weights: Sequence[Tensor], smoothing: float) -> Tensor:
    """(in,) scale of equation 4; channels without any input keep a scale of 1.

    Args:
        peak: (in,) largest magnitude of every input channel.
        weights: (out, in) of all layers that read it.
        smoothing: a of equation 4.
    """
    columns = torch.stack([weight.abs().amax(0) for weight in weights]).amax(0)
    scale = peak.pow(smoothing) / columns.clamp(min=_LEAST).pow(1.0 - smoothing)
    return torch.where(peak > 0.0, scale.clamp(min=_LEAST), 1.0)
