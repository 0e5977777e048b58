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


TINY, LARGE = 'tiny', 'openvla-7b'
PARALLEL = '-oft'
CHUNK = 8
"""Actions that OpenVLA-OFT answers with at once, as for LIBERO."""

_SIZES = {
    TINY: (Shape(192, 192), Shape(512, 192), Shape(192, 512)),
    LARGE: (Shape(4096, 4096), Shape(11008, 4096), Shape(4096, 11008)),
}
SHAPES = _SIZES | {name + PARALLEL: sizes for name, sizes in _SIZES.items()}
"""Attention, gate or up, and down: models/toy_sink_openvla, and OpenVLA's Llama 2 7B."""

PREFILL = {TINY: 64, LARGE: 280, TINY + PARALLEL: 121, LARGE + PARALLEL: 594}
"""Rows of a prefill: pictures, proprioception and an instruction; with OpenVLA-OFT the places of a
chunk, too, and a second picture where there was one."""
