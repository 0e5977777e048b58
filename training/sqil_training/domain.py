# SPDX-License-Identifier: Apache-2.0
"""A scene with its tasks and its expert, as training on demonstrations sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sqil_ros.types import Array, Pose
from sqil_training.episodes import Episode


@dataclass(frozen=True)
class RecordedState:
    """What an episode tells of the true state at a step.

    Attributes:
        tcp: measured.
        gripper: measured opening, 1 = open.
        objects: (P, 3) recorded places [m].
        axis: direction of the elongated object [rad], NaN if unknown.
    """

    tcp: Pose
    gripper: float
    objects: Array
    axis: float


Expert = Callable[[int, RecordedState, Pose, float], Array]
"""The (7,) answer to a task's index, a state, a command and the opening commanded last."""


@dataclass(frozen=True)
class Domain:
    """Everything by which one scene's demonstrations differ from another's.

    Attributes:
        name: of the data set, the later ``unnorm_key``.
        contract: file of the robot's contract.
        tasks: names, in the order of the recorded labels.
        instructions: a sentence each.
        sources: (T,) which recorded object each task moves.
        targets: (T,) where to; the source itself where there is no target.
        middle: (3,) the third-person camera's places are seen from here [m].
        expert: its answer to any recorded state and any command.
        axis: (T,) direction of the elongated object at every step of an episode, NaN if unknown.
        elongated: which object that is; any where ``axis`` never knows.
        alike: two recorded objects that change places where another task is asked about than the
            episode's own, None if there are none.
    """

    name: str
    contract: Path
    tasks: tuple[str, ...]
    instructions: tuple[str, ...]
    sources: np.ndarray
    targets: np.ndarray
    middle: Array
    expert: Expert
    axis: Callable[[Episode], Array]
    elongated: int = 0
    alike: tuple[int, int] | None = None
