# SPDX-License-Identifier: Apache-2.0
"""What back-ends know about a layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerShape:
    """What a back-end must know about a layer.

    Attributes:
        out_features: length of an output vector.
        in_features: length of an input vector.
        bits: width of a code.
        groups: scales per row.
        symmetric: False where every scale has a zero point.
    """

    out_features: int
    in_features: int
    bits: int
    groups: int = 1
    symmetric: bool = True
