# SPDX-License-Identifier: Apache-2.0
"""LIBERO-Object as a :class:`Domain`: ten things, one basket, Franka's Panda."""

from __future__ import annotations

import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.sim.tasks import SceneState
from sqil_ros.types import Array, Pose
from sqil_training.domain import Domain, RecordedState
from sqil_training.episodes import Episode
from sqil_training.libero.expert import expert_action
from sqil_training.libero.tasks import BASKET, CONTRACT, POINTS, SUITE, TASKS

_UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])
_TOOL_DOWN = np.array(Contract.load(CONTRACT).tool_down)


def answer(task: int, state: RecordedState, command: Pose, opening: float) -> Array:
    """The scripted expert, as :data:`sqil_training.domain.Expert` has it."""
    # No orientation matters to it: everything stands or lies as LIBERO puts it.
    objects = {
        name: Pose(position, _UPRIGHT)
        for name, position in zip(POINTS, state.objects, strict=True)
    }
    scene = SceneState(state.tcp, state.gripper, objects)
    action = expert_action(TASKS[task].item, scene, command, opening, _TOOL_DOWN)
    return np.append(action.delta, action.gripper)


def no_axis(episode: Episode) -> Array:
    """(T,) NaN: no grip depends on a direction."""
    return np.full(len(episode), np.nan)


LIBERO_OBJECT = Domain(
    name=SUITE,
    contract=CONTRACT,
    tasks=tuple(task.name for task in TASKS),
    instructions=tuple(task.instruction for task in TASKS),
    sources=np.array([POINTS.index(task.name) for task in TASKS]),
    targets=np.full(len(TASKS), POINTS.index(BASKET)),
    middle=np.array([0.6, 0.0, 0.0]),  # of the floor in front of the camera
    expert=answer,
    axis=no_axis,
)
