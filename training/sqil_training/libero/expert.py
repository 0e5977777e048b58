# SPDX-License-Identifier: Apache-2.0
"""The scripted expert of LIBERO's suites: an action for every state, without memory.

The tool is never turned: every thing can be held from above, by its narrow side or by its rim.
"""

from __future__ import annotations

import math

import numpy as np

from sqil_ros.sim.steering import CLOSED, OPEN, step_towards
from sqil_ros.sim.tasks import SceneState
from sqil_ros.types import Action, Array, Pose
from sqil_training.libero.suite import Item, Target

_FINGER_SPACE_M = 0.08
# The fingers have met the thing when they are no wider than this beyond its width [m].
_CLOSED_ON_IT = 0.010


def expert_action(
    item: Item,
    target: Target,
    state: SceneState,
    command: Pose,
    gripper_command: float,
    tool_down: Array,
) -> Action:
    """What the expert does next to put ``item`` where it belongs.

    Args:
        item: what is to be moved.
        target: where to.
        state: true state of the scene, robot's base frame.
        command: newest commanded TCP target; the action is a step from here.
        gripper_command: opening commanded last.
        tool_down: (4,) orientation of a tool that points down with zero yaw.
    """
    source = state.objects[item.name].position
    place = state.objects[target.name].position
    grasp = source + item.grip
    if gripper_command < 0.5 and _held(item, state, grasp):
        return _carry(target, state, source, place, command, tool_down)
    if math.hypot(*(source - place)[:2]) < target.radius and source[2] < target.height:
        # The fingers take two actions to open; until then the thing would come along.
        rising = state.gripper * _FINGER_SPACE_M > item.width + _CLOSED_ON_IT
        height = target.carry_height if rising else command.position[2]
        return step_towards(np.array([*command.position[:2], height]), command, tool_down, OPEN)
    return _fetch(item, target, state, grasp, command, gripper_command, tool_down)


def _held(item: Item, state: SceneState, grasp: Array) -> bool:
    near = np.linalg.norm(state.tcp.position - grasp) < 0.03
    return bool(near and state.gripper * _FINGER_SPACE_M < item.width + _CLOSED_ON_IT)


def _fetch(
    item: Item,
    target: Target,
    state: SceneState,
    grasp: Array,
    command: Pose,
    gripper_command: float,
    tool_down: Array,
) -> Action:
    off = state.tcp.position - grasp
    sideways = max(math.hypot(*off[:2]), math.hypot(*(command.position - grasp)[:2]))
    highest = max(0.0, target.travel_height - grasp[2])
    raised = float(np.clip(2.0 * (sideways - 0.008), 0.0, highest))
    goal = grasp + [0.0, 0.0, raised]
    at_grasp = math.hypot(*off[:2]) < 0.010 and abs(off[2]) < 0.010
    # Once closing, keep at it while the fingers are still on the way to the thing.
    closing = gripper_command < 0.5 and math.hypot(*off) < 0.02
    closing = closing and state.gripper * _FINGER_SPACE_M > item.width
    return step_towards(goal, command, tool_down, CLOSED if at_grasp or closing else OPEN)


def _carry(
    target: Target,
    state: SceneState,
    source: Array,
    place: Array,
    command: Pose,
    tool_down: Array,
) -> Action:
    # Steer the thing, not the fingers: it may have slipped when it was gripped.
    over = place[:2] + (state.tcp.position - source)[:2]
    off = math.hypot(*(state.tcp.position[:2] - over))
    sideways = max(off, math.hypot(*(command.position[:2] - over)))
    highest = target.carry_height - target.release_height
    raised = float(np.clip(2.5 * (sideways - 0.015), 0.0, highest))
    goal = np.array([*over, target.release_height + raised])
    release = off < 0.02 and state.tcp.position[2] < target.release_height + 0.015
    return step_towards(goal, command, tool_down, OPEN if release else CLOSED)
