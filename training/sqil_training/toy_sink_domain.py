# SPDX-License-Identifier: Apache-2.0
"""The toy sink as a :class:`Domain`: four kitchen tasks of the UR5e."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sqil_ros.contract import DEFAULT_PATH, Contract
from sqil_ros.geometry import quat_from_rotvec
from sqil_ros.sim.expert import expert_action
from sqil_ros.sim.objects import TASK_OBJECTS
from sqil_ros.sim.steering import STEP_RAD
from sqil_ros.sim.tasks import TASKS, SceneState
from sqil_ros.types import Array, Pose
from sqil_training.domain import Domain, RecordedState
from sqil_training.episodes import Episode

_NAMES = tuple(task.name for task in TASKS)
_OBJECTS = [item.name for item in TASK_OBJECTS]
_UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])
_TOOL_DOWN = np.array(Contract.load().tool_down)


def answer(task: int, state: RecordedState, command: Pose, opening: float) -> Array:
    """The scripted expert, as :data:`sqil_training.domain.Expert` has it."""
    # Of all orientations only the eggplant's matters to the expert.
    across = quat_from_rotvec(np.array([0.0, 0.0, 0.0 if np.isnan(state.axis) else state.axis]))
    objects = {
        name: Pose(position, across if name == 'eggplant' else _UPRIGHT)
        for name, position in zip(_OBJECTS, state.objects, strict=True)
    }
    scene = SceneState(state.tcp, state.gripper, objects)
    action = expert_action(TASKS[task], scene, command, opening, _TOOL_DOWN)
    return np.append(action.delta, action.gripper)


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


def axis(episode: Episode) -> Array:
    """(T,) yaw of the eggplant's grip [rad] in an episode."""
    labels = episode.privileged['labels'].reshape(len(episode), -1, 7)
    return eggplant_axis(episode.commands, labels[:, _NAMES.index('lift_eggplant')])


def _rows(names: Sequence[str]) -> np.ndarray:
    return np.array([_OBJECTS.index(name) for name in names])


TOY_SINK = Domain(
    name='toy_sink',
    contract=DEFAULT_PATH,
    tasks=_NAMES,
    instructions=tuple(task.instruction for task in TASKS),
    sources=_rows([task.source for task in TASKS]),
    targets=_rows([task.target or task.source for task in TASKS]),
    middle=np.array([0.49, 0.0, 0.0]),  # of the counter
    expert=answer,
    axis=axis,
    elongated=_OBJECTS.index('eggplant'),
)
