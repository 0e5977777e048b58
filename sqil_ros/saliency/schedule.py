# SPDX-License-Identifier: Apache-2.0
"""Which frames of an episode are scored, and whose score the others use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sqil_ros.errors import ParameterError

Steps = NDArray[np.int64]


def scored_steps(length: int, stride: int) -> Steps:
    """Frames of an episode of ``length`` that are scored: 0, k, 2 k ..., k being ``stride``.

    Where k does not divide the length, the floor(length / k) frames are spread evenly (inference:
    the paper is silent about the end of an episode). A last, short group of its own would push
    the cost above (1 + N^2) / k passes a frame, and one long last group would use the oldest
    scores exactly where objects are released.

    Raises:
        ParameterError: ``length`` or ``stride`` is below 1.
    """
    if length < 1 or stride < 1:
        raise ParameterError(
            f'An episode of {length} frames cannot be scored every {stride} frames; both must be '
            'at least 1.'
        )
    count = max(1, length // stride)
    return np.arange(count) * length // count


def source_steps(length: int, stride: int) -> Steps:
    """(length,) the scored frame whose score each frame uses: the nearest one not after it."""
    scored = scored_steps(length, stride)
    return scored[np.searchsorted(scored, np.arange(length), side='right') - 1]
