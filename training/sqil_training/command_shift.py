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
# Answers that differ by less [m, rad] are the same; the eggplant rolls a little.
_SAME = 5e-4
_UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


def shifted(
    contract: Contract, proprio: Array, objects: Array, axis: float, task: int, label: Array,
    rng: np.random.Generator,
) -> tuple[Array, Array]:  # fmt: skip
    """Another command for a recorded state.

    Args:
        contract: of the robot.
        proprio: (14,) measured state, then command.
        objects: (P, 3) positions of the task objects [m].
        axis: yaw of the eggplant's long axis [rad] as :func:`eggplant_axis` has it, or NaN.
        task: index of the task that is asked about.
        label: (7,) the expert's recorded answer.
        rng: source of chance.

    Returns:
        (14,) proprioception and (7,) answer; both unchanged where the expert's answer to the
        recorded command cannot be computed anew from what was recorded.
    """
    tcp, gripper = pose_from_state(contract, proprio[:7])
    command, opening = pose_from_state(contract, proprio[7:])
    # Of all orientations only the eggplant's matters to the expert.
    across = quat_from_rotvec(np.array([0.0, 0.0, 0.0 if np.isnan(axis) else axis]))
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

    if not np.allclose(answer(command), label, atol=_SAME):
        return proprio, label
    position = command.position + rng.normal(scale=_SHIFT_M, size=3)
    position[2] = max(position[2], min(_LOWEST_M, command.position[2]))
    yaw = quat_from_rotvec(np.array([0.0, 0.0, rng.normal(scale=_SHIFT_RAD)]))
    other = Pose(position, quat_multiply(yaw, command.quaternion))
    return np.concatenate([proprio[:7], state_from_pose(contract, other, opening)]), answer(other)


def eggplant_axis(commands: Array, answers: Array) -> Array:
    """Yaw at which the expert would grip the eggplant, at every step of an episode.

    Args:
        commands: (T, 7) commanded pose and opening.
        answers: (T, 7) what the expert would do to fetch the eggplant.

    Returns:
        (T,) radians. The turn in an answer tells it unless it was cut short; other steps have the
        value of the nearest step that tells, and NaN if none does.
    """
    tells = (commands[:, 6] >= 0.5) & (np.linalg.norm(answers[:, 3:6], axis=1) < 0.99 * STEP_RAD)
    known = np.flatnonzero(tells)
    if len(known) == 0:
        return np.full(len(commands), np.nan)
    yaw = commands[known, 5] + answers[known, 5]
    steps = np.arange(len(commands))
    return yaw[np.abs(steps[:, None] - known).argmin(axis=1)]
