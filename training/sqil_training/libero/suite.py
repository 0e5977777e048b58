# SPDX-License-Identifier: Apache-2.0
"""What suites of LIBERO differ in: things, where they belong, tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sqil_ros.errors import SceneError
from sqil_ros.sim.tasks import SceneState
from sqil_ros.types import Array


@dataclass(frozen=True)
class Item:
    """A thing to be moved.

    Attributes:
        name: as the scene calls it.
        grip_height: where the fingers hold it, above the origin of its body [m]; the palm is 33 mm
            above the fingers' middle, so no more than that below its top.
        width: distance of the finger pads while they hold it [m].
        beside: (2,) the same sideways, along the axes of the robot's base [m].
    """

    name: str
    grip_height: float
    width: float
    beside: tuple[float, float] = (0.0, 0.0)

    @property
    def grip(self) -> Array:
        """(3,) from the origin of its body to where the fingers hold it [m]."""
        return np.array([*self.beside, self.grip_height])


@dataclass(frozen=True)
class Target:
    """Where the things of a suite belong, and how high the TCP goes on the way.

    Attributes:
        name: as the scene calls it.
        travel_height: of the TCP on its way to a thing, robot's base frame [m].
        carry_height: of the TCP with a thing [m].
        release_height: of the TCP where the thing is let go of [m].
        radius: a thing whose origin is this near the axis of the target [m] ...
        height: ... and lower than this has arrived, or is about to [m].
    """

    name: str
    travel_height: float
    carry_height: float
    release_height: float
    radius: float
    height: float


@dataclass(frozen=True)
class LiberoTask:
    """One task of a suite.

    Attributes:
        name: unique over the suites.
        suite: LIBERO's name of the suite.
        index: LIBERO's number of the task.
        instruction: LIBERO's sentence.
        item: what has to be moved, and how it is held.
        second: name of the task that this scene answers with the suite's ``alike`` exchanged.
    """

    name: str
    suite: str
    index: int
    instruction: str
    item: Item
    second: str = ''

    @property
    def libero_name(self) -> str:
        """LIBERO's name of the task."""
        return self.instruction.replace(' ', '_')


@dataclass(frozen=True)
class Suite:
    """Tasks that share things, a target and an order of labels.

    Attributes:
        name: LIBERO's.
        tasks: in the order of the recorded labels.
        points: things whose places are recorded, in this order; among the key points the TCP
            comes last.
        target: where all of them belong.
        max_steps: actions to a judged episode.
        alike: two of ``points`` that nothing but the words tell apart: the one that the scene's
            own task means, and the one that its ``second`` task means.
    """

    name: str
    tasks: tuple[LiberoTask, ...]
    points: tuple[str, ...]
    target: Target
    max_steps: int
    alike: tuple[str, str] | None = None

    def names(self, wanted: Sequence[str] | None = None) -> list[str]:
        """Names of the ``wanted`` tasks, of all if None.

        Raises:
            SceneError: the suite has no task of such a name.
        """
        known = [task.name for task in self.tasks]
        for name in wanted or ():
            if name not in known:
                raise SceneError(
                    f'{self.name} has no task {name!r}; its tasks are {", ".join(known)}.'
                )
        return known if wanted is None else list(wanted)

    def told_wrongly(self, task: LiberoTask) -> LiberoTask:
        """Whose words mislead in a scene of ``task``: its second task, or else the next one."""
        names = self.names()
        if task.second in names:
            return self.tasks[names.index(task.second)]
        return self.tasks[(self.tasks.index(task) + 1) % len(names)]

    def as_asked(self, own: LiberoTask, asked: LiberoTask, state: SceneState) -> SceneState | None:
        """``state`` of a scene of ``own`` as the task ``asked`` means it, None if it cannot be."""
        if asked.item.name not in state.objects:
            return None
        if self.alike is None or asked == own:
            return state
        if asked.name != own.second:
            return None
        meant, other = (state.objects[name] for name in self.alike)
        exchanged = dict(zip(self.alike, (other, meant), strict=True))
        return dataclasses.replace(state, objects={**state.objects, **exchanged})
