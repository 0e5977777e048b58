# SPDX-License-Identifier: Apache-2.0
"""What takes part in a comparison of products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sqil_ros.bench.shapes import Shape
from sqil_ros.bench.turns import Candidate


@dataclass(frozen=True)
class Contestant:
    """A way to multiply.

    Attributes:
        work: does it once.
        bytes: of weights, scales included, that one product reads.
    """

    work: Candidate
    bytes: int


Maker = Callable[[Shape, Tensor, int], Contestant]
"""From a shape, (N, in) float32 activations and threads."""


def copies(size: int, beyond: int) -> int:
    """How many matrices of ``size`` bytes are more than ``beyond`` bytes."""
    return max(1, -(-beyond // size))
