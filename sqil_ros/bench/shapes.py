# SPDX-License-Identifier: Apache-2.0
"""Sizes of what is timed: the linear layers of the decoders, and the rows they see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A weight matrix.

    Attributes:
        outputs: rows of the weight.
        inputs: columns of the weight.
    """

    outputs: int
    inputs: int

    def __str__(self) -> str:
        return f'{self.outputs}x{self.inputs}'

    @property
    def weights(self) -> int:
        """How many there are."""
        return self.outputs * self.inputs


SHAPES = {
    'tiny': (Shape(192, 192), Shape(512, 192), Shape(192, 512)),
    'openvla-7b': (Shape(4096, 4096), Shape(11008, 4096), Shape(4096, 11008)),
}
"""Attention, gate or up, and down: models/toy_sink_openvla, and OpenVLA's Llama 2 7B."""

PREFILL = {'tiny': 64, 'openvla-7b': 280}
"""Rows of a prefill: pictures, proprioception and an instruction."""
