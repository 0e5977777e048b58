# SPDX-License-Identifier: Apache-2.0
"""LIBERO's suites as :class:`Domain`."""

from __future__ import annotations

from functools import partial

import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.sim.tasks import SceneState
from sqil_ros.types import Array, Pose
from sqil_training.domain import Domain, RecordedState
from sqil_training.episodes import Episode
from sqil_training.libero.expert import expert_action
from sqil_training.libero.objects import OBJECT
from sqil_training.libero.spatial import SPATIAL
from sqil_training.libero.suite import Suite
from sqil_training.libero.tasks import CONTRACT

_UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])
_TOOL_DOWN = np.array(Contract.load(CONTRACT).tool_down)


def answer(suite: Suite, task: int, state: RecordedState, command: Pose, opening: float) -> Array:
    """The scripted expert; with a suite it is :data:`sqil_training.domain.Expert`."""
    # No orientation matters to it: everything stands or lies as LIBERO puts it.
    objects = {
        name: Pose(position, _UPRIGHT)
        for name, position in zip(suite.points, state.objects, strict=True)
    }
    scene = SceneState(state.tcp, state.gripper, objects)
    item = suite.tasks[task].item
    action = expert_action(item, suite.target, scene, command, opening, _TOOL_DOWN)
    return np.append(action.delta, action.gripper)


def no_axis(episode: Episode) -> Array:
    """(T,) NaN: no grip depends on a direction."""
    return np.full(len(episode), np.nan)


def _domain(suite: Suite) -> Domain:
    number = suite.points.index
    return Domain(
        name=suite.name,
        contract=CONTRACT,
        tasks=tuple(task.name for task in suite.tasks),
        instructions=tuple(task.instruction for task in suite.tasks),
        sources=np.array([number(task.item.name) for task in suite.tasks]),
        targets=np.full(len(suite.tasks), number(suite.target.name)),
        middle=np.array([0.6, 0.0, 0.0]),  # of what lies in front of the camera
        expert=partial(answer, suite),
        axis=no_axis,
        alike=suite.alike and (number(suite.alike[0]), number(suite.alike[1])),
    )


LIBERO_OBJECT, LIBERO_SPATIAL = _domain(OBJECT), _domain(SPATIAL)
