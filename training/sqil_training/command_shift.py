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
from sqil_ros.sim.expert import STEP_RAD, expert_action
from sqil_ros.sim.objects import TASK_OBJECTS
from sqil_ros.sim.tasks import TASKS, SceneState
from sqil_ros.types import Array, Pose

# Standard deviations of the shift: as far as the arm lags or a learner strays [m, rad].
_SHIFT_M, _SHIFT_RAD = 0.03, 0.08
_LOWEST_M = 0.005
_UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


def shifted(
    contract: Contract, proprio: Array, objects: Array, task: int, label: Array,
    rng: np.random.Generator,
) -> tuple[Array, Array]:  # fmt: skip
    """Another command for a recorded state.

    Args:
        contract: of the robot.
        proprio: (14,) measured state, then command.
        objects: (P, 3) positions of the task objects [m].
        task: index of the task that is asked about.
        label: (7,) the expert's recorded answer.
        rng: source of chance.

    Returns:
        (14,) proprioception and (7,) answer; both unchanged where the expert's answer to the
        recorded command cannot be computed anew from what was recorded.
    """
    tcp, gripper = pose_from_state(contract, proprio[:7])
    command, opening = pose_from_state(contract, proprio[7:])
    # Of an object's orientation only the long axis of the eggplant matters, and the recorded turn
    # tells it unless that was cut short.
    turn = _yaw(contract, command) + label[5] if np.linalg.norm(label[3:6]) < STEP_RAD else 0.0
    across = quat_from_rotvec(np.array([0.0, 0.0, turn]))
    turns = [across if item.name == 'eggplant' else _UPRIGHT for item in TASK_OBJECTS]
    state = SceneState(
        tcp,
        gripper,
        {
            item.name: Pose(position, quaternion)
            for item, position, quaternion in zip(TASK_OBJECTS, objects, turns, strict=True)
        },
    )
    tool_down = np.array(contract.tool_down)

    def answer(pose: Pose) -> Array:
        action = expert_action(TASKS[task], state, pose, opening, tool_down)
        return np.append(action.delta, action.gripper)

    if not np.allclose(answer(command), label, atol=1e-6):
        return proprio, label
    position = command.position + rng.normal(scale=_SHIFT_M, size=3)
    position[2] = max(position[2], min(_LOWEST_M, command.position[2]))
    yaw = quat_from_rotvec(np.array([0.0, 0.0, rng.normal(scale=_SHIFT_RAD)]))
    other = Pose(position, quat_multiply(yaw, command.quaternion))
    return np.concatenate([proprio[:7], state_from_pose(contract, other, opening)]), answer(other)


def _yaw(contract: Contract, pose: Pose) -> float:
    """Turn about the vertical of a tool that points nearly straight down."""
    return float(state_from_pose(contract, pose, 0.0)[5])
