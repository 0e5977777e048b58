# SPDX-License-Identifier: Apache-2.0
"""Actions as the last tokens of the vocabulary (OpenVLA, section 3.2 of its paper).

256 edges over [-1, 1] make 255 intervals; bin d in 1..256 is token ``vocabulary - d`` and decodes
to the centre of its interval. Bin 256 (exactly +1) decodes onto the last interval.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sqil_ros.types import Array

Tokens = NDArray[np.int64]


def encode(normalized: Array, vocabulary: int, bins: int = 256) -> Tokens:
    """Normalised actions in [-1, 1], any shape, to token ids of the same shape."""
    edges = np.linspace(-1.0, 1.0, bins)
    return (vocabulary - np.digitize(np.clip(normalized, -1.0, 1.0), edges)).astype(np.int64)


def decode(tokens: Tokens, vocabulary: int, bins: int = 256) -> Array:
    """Token ids to the centres of their bins; inverse of :func:`encode` to half a bin."""
    edges = np.linspace(-1.0, 1.0, bins)
    centres = 0.5 * (edges[:-1] + edges[1:])
    return centres[np.clip(vocabulary - np.asarray(tokens) - 1, 0, bins - 2)]
