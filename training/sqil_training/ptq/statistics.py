# SPDX-License-Identifier: Apache-2.0
"""What calibration methods know of the inputs of a layer.

Every error that the methods minimise is quadratic in the weights, so the sum of x x^T says all of
the inputs that they need. It takes the same memory for ten tokens as for ten million, which is
why no input is ever kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sqil_ros.errors import CalibrationError
from sqil_ros.quant.primitives import Quantized, dequantize
from sqil_training.ptq.architecture import shared_inputs
from sqil_training.ptq.parts import weight_of

Run = Callable[[nn.Module], None]
"""Lets a model compute on the calibration data, from the first input to the last."""


@dataclass(frozen=True)
class InputStatistics:
    """Sums over the n inputs (n, in) of a layer.

    Attributes:
        gram: (in, in) float32 mean of x x^T.
        magnitude: (in,) float32 mean of abs(x).
        peak: (in,) float32 largest abs(x).
        count: n.
    """

    gram: Tensor
    magnitude: Tensor
    peak: Tensor
    count: int


def statistics_of(x: Tensor) -> InputStatistics:
    """Statistics of (n, in) inputs at hand."""
    sums = _Sums(x.shape[-1], x.device)
    sums.add(x)
    return sums.finish('x')


def collect(
    model: nn.Module, layers: Collection[str], run: Run, gram: bool = True
) -> dict[str, InputStatistics]:
    """Statistics of every input that ``layers`` see while ``run`` runs once.

    Args:
        model: left as it is.
        layers: names of linear layers.
        run: the calibration data.
        gram: False leaves ``gram`` empty, where peaks are enough.

    Raises:
        CalibrationError: a layer is never called, or sees inputs that are not finite.
    """
    shared = shared_inputs(model)
    sums: dict[str, _Sums] = {}
    handles = []
    for name in dict.fromkeys(shared.get(layer, layer) for layer in layers):
        weight = weight_of(model, name)
        sums[name] = _Sums(weight.shape[1] if gram else 0, weight.device)
        hook = sums[name].hook
        handles.append(model.get_submodule(name).register_forward_pre_hook(hook))
    try:
        with torch.no_grad():
            run(model)
    finally:
        for handle in handles:
            handle.remove()
    finished = {name: total.finish(name) for name, total in sums.items()}
    return {layer: finished[shared.get(layer, layer)] for layer in layers}


def output_errors(weight: Tensor, quantized: Quantized, inputs: InputStatistics) -> Tensor:
    """(out,) mean squared error of every output over the inputs."""
    difference = weight - dequantize(quantized)
    return ((difference @ inputs.gram) * difference).sum(1)


class _Sums:
    """Statistics while they grow."""

    def __init__(self, width: int, device: torch.device) -> None:
        self._gram = torch.zeros(width, width, device=device)
        self._magnitude = torch.zeros((), device=device)
        self._peak = torch.zeros((), device=device)
        self._count = 0

    def hook(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        """For ``register_forward_pre_hook``."""
        self.add(arguments[0])

    def add(self, x: Tensor) -> None:
        rows = x.detach().flatten(0, -2).float()
        if not len(rows):
            return
        if len(self._gram):
            self._gram.addmm_(rows.t(), rows)
        self._magnitude = self._magnitude + rows.abs().sum(0)
        self._peak = torch.maximum(self._peak, rows.abs().amax(0))
        self._count += len(rows)

    def finish(self, name: str) -> InputStatistics:
        if self._count == 0:
            raise CalibrationError(
                f'layer {name} saw no input during calibration, it needs at least one; leave it '
                'at 16 bits, or use a method that needs no data (--method rtn)'
            )
        if not torch.isfinite(self._magnitude).all():
            bad = int((~torch.isfinite(self._magnitude)).sum())
            raise CalibrationError(
                f'layer {name}: {bad} of its {len(self._peak)} input channels are not finite on '
                'the calibration data; all must be. Check the episodes, or quantise a checkpoint '
                'from before the training diverged'
            )
        return InputStatistics(
            self._gram / self._count, self._magnitude / self._count, self._peak, self._count
        )
