# SPDX-License-Identifier: Apache-2.0
"""The interface of a calibration method: change the weights without changing the function, round.

Either half may be missing: RTN and GPTQ only round, QuaRot and SmoothQuant only change.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from sqil_ros.quant.primitives import Grid, Quantized
from sqil_training.ptq.statistics import InputStatistics, Run


@dataclass(frozen=True)
class Options:
    """What methods are asked for.

    Attributes:
        grid: of the weights.
        seed: of whatever is drawn.
        smoothing: exponent of the activations in SmoothQuant, 0 to 1.
    """

    grid: Grid
    seed: int = 0
    smoothing: float = 0.5


class Transform(Protocol):
    """Changes a model in place, so that it computes the same and rounds better."""

    def __call__(
        self, model: nn.Module, layers: Collection[str], options: Options, run: Run | None
    ) -> None:
        """Change ``model``; ``layers`` are those that will be rounded.

        ``run`` is None where the method needs no data.
        """


class Rounding(Protocol):
    """Finds the integers of one layer."""

    def __call__(
        self, name: str, weight: Tensor, inputs: InputStatistics | None, options: Options
    ) -> Quantized:
        """Integers of the (out, in) float32 weight; ``inputs`` is None where none are needed."""


@dataclass(frozen=True)
class Method:
    """A calibration method.

    Attributes:
        rounding: finds the integers.
        transform: prepares the model, None for not at all.
        transform_sees_data: the transform runs the model on data.
        rounding_sees_inputs: the rounding needs the statistics of a layer's inputs.
    """

    rounding: Rounding
    transform: Transform | None = None
    transform_sees_data: bool = False
    rounding_sees_inputs: bool = False

    @property
    def needs_data(self) -> bool:
        """Whether it can do nothing without calibration data."""
        return self.transform_sees_data or self.rounding_sees_inputs
