# SPDX-License-Identifier: Apache-2.0
"""The vocabulary that travels through the package: frozen, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Pose:
    """A rigid placement.

    Attributes:
        position: (3,) metres.
        quaternion: (4,) unit quaternion in ROS order x, y, z, w.
    """

    position: Array
    quaternion: Array


@dataclass(frozen=True)
class Observation:
    """What a policy sees at one control tick.

    Attributes:
        images: one (H, W, 3) uint8 RGB image per camera, in the contract's camera order.
        state: (7,) measured x y z [m], rotation vector [rad] of the TCP relative to the contract's
            tool-down orientation, measured gripper opening (1 = open).
        command: (7,) the same of the newest target sent to the robot; an action is a step from
            here, and the difference to ``state`` is how far the arm still has to go.
        instruction: what the operator asked for, as typed.
        stamp_ns: time of the first image, nanoseconds of the ROS clock.
    """

    images: tuple[Image, ...]
    state: Array
    command: Array
    instruction: str
    stamp_ns: int = 0


@dataclass(frozen=True)
class Action:
    """One control step.

    Attributes:
        delta: (6,) translation [m] and rotation vector [rad] in base axes, composed on the left.
        gripper: opening wanted, 1 = open, 0 = closed.
    """

    delta: Array
    gripper: float


@dataclass(frozen=True)
class ActionChunk:
    """The actions a policy answers with.

    Attributes:
        actions: (K, 7) rows of ``[dx dy dz rx ry rz gripper]`` in metres and radians.
        spans: milliseconds spent per stage (preprocess, vision, projector, prefill, decode).
    """

    actions: Array
    spans: Mapping[str, float] = field(default_factory=dict)
