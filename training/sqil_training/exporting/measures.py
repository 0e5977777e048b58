# SPDX-License-Identifier: Apache-2.0
"""How alike two ways to act are, on the same frames, plain or weighted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sqil_ros.types import Array

_GRIPPER = 6
_OPEN = 0.5


@dataclass(frozen=True)
class Distance:
    """How far the actions of one policy are from others on the same frames.

    Attributes:
        action_error: mean absolute difference, all seven dimensions alike [normalised, -1..1].
        gripper_agreement: share of the frames on which both open, or both close, the gripper.
    """

    action_error: float
    gripper_agreement: float


@dataclass(frozen=True)
class Sameness:
    """Whether two policies are one.

    Attributes:
        same: share of the frames with equal actions.
        largest: largest difference of a value [normalised, -1..1].
    """

    same: float
    largest: float


def distance(found: Array, wanted: Array, alpha: Array) -> Distance:
    """Weighted means over frames.

    Args:
        found: (n, 7) normalised actions, gripper 0 to 1.
        wanted: (n, 7) likewise.
        alpha: (n,) weights, all 1 for plain means.
    """
    error = np.abs(found - wanted).mean(axis=1)
    agreed = (found[:, _GRIPPER] > _OPEN) == (wanted[:, _GRIPPER] > _OPEN)
    return Distance(
        float(np.average(error, weights=alpha)), float(np.average(agreed, weights=alpha))
    )


def sameness(found: Array, wanted: Array) -> Sameness:
    """Of (n, 7) normalised actions; those of equal tokens are equal bit for bit."""
    apart = np.abs(found - wanted).max(axis=1)
    return Sameness(float((apart == 0.0).mean()), float(apart.max()))
