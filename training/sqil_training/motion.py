# SPDX-License-Identifier: Apache-2.0
"""How smoothly an arm moved: what a success rate does not show.

Low-bit policies that succeed as often can still move worse: INT4 raised jerk by up to a fifth
(arXiv 2603.19131), and reversals of direction announce failure (arXiv 2605.28726).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sqil_ros.types import Array

STILL_M = 1e-3
"""A shorter displacement in one period has no direction worth the name."""
_OPEN = 0.5


@dataclass(frozen=True)
class Motion:
    """One episode.

    Attributes:
        jerk: root mean square of the TCP's jerk [m/s^3], third difference at the policy's rate.
        reversals: turns by more than 90 degrees between two periods [1/s].
        grips: numbers of the actions that closed the open gripper or opened the closed one.
    """

    jerk: float
    reversals: float
    grips: tuple[int, ...]


def motion_of(path: Array, openings: Array, period_s: float) -> Motion:
    """Judge one episode.

    Args:
        path: (T + 1, 3) TCP positions [m] before the first action and after every one.
        openings: (T,) commanded openings, 1 = open; the gripper was open before.
        period_s: between two actions [s].
    """
    moved = np.diff(path, axis=0)
    jerk = np.diff(path, n=3, axis=0) / period_s**3
    long = np.linalg.norm(moved, axis=1) > STILL_M
    turned = (np.sum(moved[1:] * moved[:-1], axis=1) < 0.0) & long[1:] & long[:-1]
    opened = np.concatenate([[True], openings > _OPEN])
    return Motion(
        float(np.sqrt(np.mean(np.sum(jerk**2, axis=1)))) if len(jerk) else 0.0,
        float(turned.sum() / (max(1, len(moved)) * period_s)),
        tuple(int(i) for i in np.flatnonzero(opened[1:] != opened[:-1])),
    )


def grip_lag(grips: Sequence[int], expert: Sequence[int], period_s: float) -> float | None:
    """Seconds by which the first closing is off the expert's on the same initial state.

    None where either of them never closed the gripper.
    """
    if not grips or not expert:
        return None
    return abs(grips[0] - expert[0]) * period_s
