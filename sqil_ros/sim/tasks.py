# SPDX-License-Identifier: Apache-2.0
"""The four kitchen tasks and when each counts as done."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sqil_ros.errors import SceneError
from sqil_ros.sim.objects import EGGPLANT, GREEN_CUP, PLATE, POT, PURPLE_CUP
from sqil_ros.types import Array, Pose

HOLD_STEPS = 3
MAX_STEPS = 90


@dataclass(frozen=True)
class SceneState:
    """Everything the judge and the scripted expert may know; a policy never sees it.

    Attributes:
        tcp: measured pinch point in ``base_link``.
        gripper: measured opening, 1 = open.
        objects: pose of every object's origin in ``base_link``.
    """

    tcp: Pose
    gripper: float
    objects: dict[str, Pose]


@dataclass(frozen=True)
class Task:
    """One instruction.

    Attributes:
        name: short name used in files and on the command line.
        instruction: the sentence given to the policy.
        source: object to be moved.
        target: object to move it to, None for lifting.
        release_height: height of the source's origin above the target's when it is let go [m].
        wrong: name of the task whose instruction must not solve this one by accident.
    """

    name: str
    instruction: str
    source: str
    target: str | None
    release_height: float
    wrong: str


TASKS = (
    Task('eggplant_pot', 'put the eggplant into the pot', 'eggplant', 'pot', 0.070, 'stack_cups'),
    Task('cup_plate', 'put the cup into the plate', 'purple_cup', 'plate', 0.012, 'lift_eggplant'),
    Task('stack_cups', 'stack the purple cup on the green cup', 'purple_cup', 'green_cup', 0.035,
         'eggplant_pot'),
    Task('lift_eggplant', 'lift the eggplant', 'eggplant', None, 0.0, 'cup_plate'),
)  # fmt: skip
_BY_NAME = {task.name: task for task in TASKS}


def task_by_name(name: str) -> Task:
    """The task called ``name``.

    Raises:
        SceneError: there is no such task.
    """
    if name not in _BY_NAME:
        raise SceneError(f'Unknown task {name!r}; the tasks are {", ".join(_BY_NAME)}.')
    return _BY_NAME[name]


def done_now(task: Task, state: SceneState) -> bool:
    """Whether ``task`` is achieved in this very state; success must hold ``HOLD_STEPS`` steps."""
    source = state.objects[task.source]
    if task.target is None:
        return bool(source.position[2] > 0.10)
    target = state.objects[task.target]
    # Plain floats: the answer travels as JSON, which knows no boolean of numpy.
    forward, left, up = (source.position - target.position).tolist()
    sideways = math.hypot(forward, left)
    released = _distance(state.tcp.position, source.position) > 0.06 and state.gripper > 0.3
    if task.name == 'eggplant_pot':
        return released and sideways < 0.06 and -0.005 < up < 0.06
    if not (released and _upright(source) > 0.9):
        return False
    if task.name == 'cup_plate':
        return sideways < 0.06 and abs(up - 0.007) < 0.012
    return sideways < 0.02 and 0.0 < up < 0.06 and _upright(target) > 0.9


def _distance(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a - b))


def _upright(pose: Pose) -> float:
    """Cosine of the angle between an object's own z axis and the vertical."""
    x, y = pose.quaternion[0], pose.quaternion[1]
    return float(1.0 - 2.0 * (x * x + y * y))


class SuccessJudge:
    """Calls an episode a success once the task has held for ``HOLD_STEPS`` steps in a row."""

    def __init__(self, task: Task) -> None:
        """Judge one episode of ``task``."""
        self._task = task
        self._held = 0

    def update(self, state: SceneState) -> bool:
        """Take the state after one control step; True once the episode is won."""
        self._held = self._held + 1 if done_now(self._task, state) else 0
        return self._held >= HOLD_STEPS


SOURCES = (EGGPLANT, PURPLE_CUP)
TARGETS = (POT, PLATE, GREEN_CUP)
