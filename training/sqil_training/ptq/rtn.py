# SPDX-License-Identifier: Apache-2.0
"""RTN: every weight to the nearest code (methods.md 5.1). No data."""

from __future__ import annotations

from torch import Tensor

from sqil_ros.quant.primitives import Quantized, quantize
from sqil_training.ptq.method import Options
from sqil_training.ptq.statistics import InputStatistics


def round_to_nearest(
    name: str, weight: Tensor, inputs: InputStatistics | None, options: Options
) -> Quantized:
    """A :class:`sqil_training.ptq.method.Rounding`."""
    return quantize(weight, options.grid)
