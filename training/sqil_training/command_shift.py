# SPDX-License-Identifier: Apache-2.0
"""Other commands for a recorded state, with the expert's answer to each.

An action is a step from the commanded pose, and in demonstrations that pose alone tells much of
what comes next: a policy that reads only it looks trained and walks past the object. The expert's
answer depends on state and command; for a recorded state it can be asked about commands the arm
never had, so that only the pictures tell where to go (inference; in the spirit of Laskey et al.
(2017), "DART", without new recordings).
"""

from __future__ import annotations

import numpy as np

from sqil_ros.contract import Contract, pose_from_state, state_from_pose
from sqil_ros.geometry import quat_from_rotvec, quat_multiply
from sqil_ros.types import Array, Pose
from sqil_training.domain import Expert, RecordedState

# Standard deviations of the shift: as far as the arm lags or a learner strays [m, rad].
_SHIFT_M, _SHIFT_RAD = 0.03, 0.08
_LOWEST_M = 0.005
# Answers that differ by less [m, rad] are the same; the eggplant rolls a little.
_SAME = 5e-4


def shifted(
    expert: Expert, contract: Contract, proprio: Array, objects: Array, axis: float, task: int,
    label: Array, rng: np.random.Generator,
) -> tuple[Array, Array]:  # fmt: skip
    """Another command for a recorded state.

    Args:
        expert: whom to ask.
        contract: of the robot.
        proprio: (14,) measured state, then command.
        objects: (P, 3) recorded places [m].
        axis: direction of the elongated object [rad], or NaN.
        task: index of the task that is asked about.
        label: (7,) the expert's recorded answer.
        rng: source of chance.

    Returns:
        (14,) proprioception and (7,) answer; both unchanged where the expert's answer to the
        recorded command cannot be computed anew from what was recorded.
    """
    state = RecordedState(*pose_from_state(contract, proprio[:7]), objects, axis)
    command, opening = pose_from_state(contract, proprio[7:])
    if not np.allclose(expert(task, state, command, opening), label, atol=_SAME):
        return proprio, label
    position = command.position + rng.normal(scale=_SHIFT_M, size=3)
    position[2] = max(position[2], min(_LOWEST_M, command.position[2]))
    yaw = quat_from_rotvec(np.array([0.0, 0.0, rng.normal(scale=_SHIFT_RAD)]))
    other = Pose(position, quat_multiply(yaw, command.quaternion))
    asked = np.concatenate([proprio[:7], state_from_pose(contract, other, opening)])
    return asked, expert(task, state, other, opening)
