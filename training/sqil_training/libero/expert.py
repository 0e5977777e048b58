# SPDX-License-Identifier: Apache-2.0
"""The scripted expert of LIBERO-Object: an action for every state, without memory.

Every thing lies in the one orientation that LIBERO gives it, with its narrow side across the
fingers of a tool that is not turned, so a straight grasp from above is all it takes.
"""

from __future__ import annotations

import math

import numpy as np

from sqil_ros.sim.steering import CLOSED, OPEN, step_towards
from sqil_ros.sim.tasks import SceneState
from sqil_ros.types import Action, Array, Pose
from sqil_training.libero.tasks import BASKET, Item

# Heights of the TCP above the floor [m]: over standing bottles, with a bottle over the basket's
# rim, and where a thing is let go over the basket.
_TRAVEL_HEIGHT, _CARRY_HEIGHT, _RELEASE_HEIGHT = 0.22, 0.30, 0.17
_FINGER_SPACE_M = 0.08
# The fingers have met the thing when they are no wider than this beyond its width [m].
_CLOSED_ON_IT = 0.010
# A thing whose origin is this near the basket's axis and this low is in it, or about to be [m].
_INSIDE_M, _INSIDE_HEIGHT = 0.06, 0.19


def expert_action(
    item: Item, state: SceneState, command: Pose, gripper_command: float, tool_down: Array
) -> Action:
    """What the expert does next to put ``item`` into the basket.

    Args:
        item: what is to be moved.
        state: true state of the scene, robot's base frame.
        command: newest commanded TCP target; the action is a step from here.
        gripper_command: opening commanded last.
        tool_down: (4,) orientation of a tool that points down with zero yaw.
    """
    source = state.objects[item.name].position
    basket = state.objects[BASKET].position
    grasp = source + [0.0, 0.0, item.grip_height]
    if gripper_command < 0.5 and _held(item, state, grasp):
        return _carry(state, source, basket, command, tool_down)
    if math.hypot(*(source - basket)[:2]) < _INSIDE_M and source[2] < _INSIDE_HEIGHT:
        # The fingers take two actions to open; until then the thing would come along.
        rising = state.gripper * _FINGER_SPACE_M > item.width + _CLOSED_ON_IT
        height = _CARRY_HEIGHT if rising else command.position[2]
        return step_towards(np.array([*command.position[:2], height]), command, tool_down, OPEN)
    return _fetch(item, state, grasp, command, gripper_command, tool_down)


def _held(item: Item, state: SceneState, grasp: Array) -> bool:
    near = np.linalg.norm(state.tcp.position - grasp) < 0.03
    return bool(near and state.gripper * _FINGER_SPACE_M < item.width + _CLOSED_ON_IT)


def _fetch(
    item: Item,
    state: SceneState,
    grasp: Array,
    command: Pose,
    gripper_command: float,
    tool_down: Array,
) -> Action:
    off = state.tcp.position - grasp
    sideways = max(math.hypot(*off[:2]), math.hypot(*(command.position - grasp)[:2]))
    raised = float(np.clip(2.0 * (sideways - 0.008), 0.0, max(0.0, _TRAVEL_HEIGHT - grasp[2])))
    goal = grasp + [0.0, 0.0, raised]
    at_grasp = math.hypot(*off[:2]) < 0.010 and abs(off[2]) < 0.010
    # Once closing, keep at it while the fingers are still on the way to the thing.
    closing = gripper_command < 0.5 and math.hypot(*off) < 0.02
    closing = closing and state.gripper * _FINGER_SPACE_M > item.width
    return step_towards(goal, command, tool_down, CLOSED if at_grasp or closing else OPEN)


def _carry(
    state: SceneState, source: Array, basket: Array, command: Pose, tool_down: Array
) -> Action:
    # Steer the thing, not the fingers: it may have slipped when it was gripped.
    over = basket[:2] + (state.tcp.position - source)[:2]
    off = math.hypot(*(state.tcp.position[:2] - over))
    sideways = max(off, math.hypot(*(command.position[:2] - over)))
    raised = float(np.clip(2.5 * (sideways - 0.015), 0.0, _CARRY_HEIGHT - _RELEASE_HEIGHT))
    goal = np.array([*over, _RELEASE_HEIGHT + raised])
    release = off < 0.02 and state.tcp.position[2] < _RELEASE_HEIGHT + 0.015
    return step_towards(goal, command, tool_down, OPEN if release else CLOSED)
