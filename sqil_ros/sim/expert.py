# SPDX-License-Identifier: Apache-2.0
"""The scripted expert: an action for every state, without memory.

It sees the true poses of the objects. Each motion is a funnel: the height above the goal grows
with the distance to it, so the action is a continuous function of the state, which is what makes
it easy to imitate and lets it label any state a learner drifts into.
"""

from __future__ import annotations

import math

import numpy as np

from sqil_ros.geometry import matrix_from_quat, quat_from_rotvec, quat_multiply
from sqil_ros.sim.steering import CLOSED, OPEN, step_towards, turn_between, without_tilt
from sqil_ros.sim.tasks import SceneState, Task
from sqil_ros.types import Action, Array, Pose

_APPROACH_HEIGHT = 0.12
_CARRY_HEIGHT = 0.20
_LIFT_HEIGHT = 0.20
# Where the fingers hold each source, above the origin of its body [m].
_GRASP_HEIGHT = {'eggplant': 0.0, 'purple_cup': 0.045}
# How far off the target the source may be when it is let go [m].
_RELEASE_RADIUS = {'eggplant_pot': 0.020, 'cup_plate': 0.020, 'stack_cups': 0.007}
# Opening at which the fingers have met the thing between them.
_GRASPED_BELOW = 0.75


def expert_action(
    task: Task, state: SceneState, command: Pose, gripper_command: float, tool_down: Array
) -> Action:
    """What the expert does next.

    Args:
        task: what is to be done.
        state: true state of the scene.
        command: newest commanded TCP target in ``base_link``; the action is a step from here.
        gripper_command: opening commanded last.
        tool_down: (4,) orientation of a tool that points down with zero yaw.
    """
    source = state.objects[task.source]
    grasp = source.position + [0.0, 0.0, _GRASP_HEIGHT[task.source]]
    if gripper_command < 0.5 and _held(state, grasp):
        return _carry(task, state, source, command, tool_down)
    if task.target is not None and gripper_command >= 0.5 and _arrived(task, state, source):
        goal = np.array([*command.position[:2], _CARRY_HEIGHT])
        return step_towards(goal, command, without_tilt(command, tool_down), OPEN)
    return _fetch(task, state, source, grasp, command, gripper_command, tool_down)


def _held(state: SceneState, grasp: Array) -> bool:
    near = np.linalg.norm(state.tcp.position - grasp) < 0.035
    return bool(near and state.gripper < _GRASPED_BELOW)


def _arrived(task: Task, state: SceneState, source: Pose) -> bool:
    """Whether the source lies where it belongs, so that only the retreat is left."""
    apart = source.position - state.objects[task.target or ''].position
    sideways = math.hypot(apart[0], apart[1])
    return sideways < (0.025 if task.name == 'stack_cups' else 0.05) and apart[2] < 0.09


def _fetch(
    task: Task,
    state: SceneState,
    source: Pose,
    grasp: Array,
    command: Pose,
    gripper_command: float,
    tool_down: Array,
) -> Action:
    yaw = _grasp_yaw(source) if task.source == 'eggplant' else 0.0
    wanted = quat_multiply(quat_from_rotvec(np.array([0.0, 0.0, yaw])), tool_down)
    turn = abs(turn_between(command.quaternion, wanted)[2])
    sideways = math.hypot(*(grasp[:2] - command.position[:2]))
    raised = 1.5 * (sideways - 0.006) + 0.25 * (turn - 0.05)
    goal = grasp + [0.0, 0.0, float(np.clip(raised, 0.0, _APPROACH_HEIGHT))]
    off = state.tcp.position - grasp
    at_grasp = (
        math.hypot(off[0], off[1]) < 0.010
        and abs(off[2]) < 0.010
        and abs(turn_between(state.tcp.quaternion, wanted)[2]) < 0.12
    )
    # Once closing, keep at it while the fingers are still on the way to the object.
    closing = gripper_command < 0.5 and np.linalg.norm(off) < 0.02 and state.gripper > 0.3
    return step_towards(goal, command, wanted, CLOSED if at_grasp or closing else OPEN)


def _carry(task: Task, state: SceneState, source: Pose, command: Pose, tool_down: Array) -> Action:
    upright = without_tilt(command, tool_down)
    if task.target is None:
        goal = np.array([*command.position[:2], _LIFT_HEIGHT])
        return step_towards(goal, command, upright, CLOSED)
    # Steer the object, not the fingers: it may have slipped when it was gripped.
    target = state.objects[task.target].position
    offset = state.tcp.position - source.position
    place = target + offset
    place[2] = target[2] + task.release_height + offset[2]
    sideways = math.hypot(*(place[:2] - command.position[:2]))
    raised = float(np.clip(1.5 * (sideways - 0.010), 0.0, _CARRY_HEIGHT - place[2]))
    goal = place + [0.0, 0.0, raised]
    apart = source.position - target
    release = (
        math.hypot(apart[0], apart[1]) < _RELEASE_RADIUS[task.name]
        and apart[2] < task.release_height + 0.008
    )
    return step_towards(goal, command, upright, OPEN if release else CLOSED)


def _grasp_yaw(source: Pose) -> float:
    """Tool yaw that closes the fingers across the long axis; of two equal turns the smaller."""
    axis = matrix_from_quat(source.quaternion)[:, 0]
    yaw = math.atan2(axis[1], axis[0])
    return (yaw + 0.5 * math.pi) % math.pi - 0.5 * math.pi
