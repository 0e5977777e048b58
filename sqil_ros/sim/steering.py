# SPDX-License-Identifier: Apache-2.0
"""One bounded step from a commanded pose towards a goal: what scripted experts share."""

from __future__ import annotations

import math

import numpy as np

from sqil_ros.geometry import (
    matrix_from_quat,
    quat_conjugate,
    quat_from_rotvec,
    quat_multiply,
    rotvec_from_quat,
)
from sqil_ros.types import Action, Array, Pose

STEP_M = 0.04
STEP_RAD = 0.12
OPEN, CLOSED = 1.0, 0.0


def step_towards(goal: Array, command: Pose, orientation: Array, gripper: float) -> Action:
    """The action that brings ``command`` nearer to a goal.

    Args:
        goal: (3,) where the TCP should be [m].
        command: newest commanded TCP target; the action is a step from here.
        orientation: (4,) how the tool should be turned.
        gripper: opening wanted, 1 = open.
    """
    way = goal - command.position
    # Rise before going sideways: whatever is in the way stands on the counter.
    way[:2] *= float(np.clip(1.0 - (way[2] - 0.015) / 0.04, 0.0, 1.0))
    delta = np.concatenate(
        [
            shortened(way, STEP_M),
            shortened(turn_between(command.quaternion, orientation), STEP_RAD),
        ]
    )
    return Action(delta, gripper)


def shortened(vector: Array, limit: float) -> Array:
    """``vector`` with a length of at most ``limit``."""
    norm = float(np.linalg.norm(vector))
    return vector * (limit / norm) if norm > limit else vector


def turn_between(start: Array, end: Array) -> Array:
    """(3,) rotation vector [rad] that turns the (4,) orientation ``start`` into ``end``."""
    return rotvec_from_quat(quat_multiply(end, quat_conjugate(start)))


def without_tilt(command: Pose, tool_down: Array) -> Array:
    """The orientation that keeps the command's yaw and points straight down."""
    relative = matrix_from_quat(quat_multiply(command.quaternion, quat_conjugate(tool_down)))
    yaw = math.atan2(relative[1, 0], relative[0, 0])
    return quat_multiply(quat_from_rotvec(np.array([0.0, 0.0, yaw])), tool_down)
