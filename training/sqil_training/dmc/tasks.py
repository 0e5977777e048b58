# SPDX-License-Identifier: Apache-2.0
"""The tasks, and what their expert strives for.

A merit is the suite's own reward where that shows the way, and smoother where it is flat. Only the
demonstrations depend on it; every return that is reported is the suite's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sqil_ros.errors import ParameterError
from sqil_ros.types import Array
from sqil_training.dmc.practice import Practice


@dataclass(frozen=True)
class Task:
    """A task of the suite.

    Attributes:
        domain: the suite's name of the robot.
        goal: the suite's name of what it should do.
        merit: (..., nq + nv) states to (...) what the expert strives for, about 0 to 1.
        practice: of the expert.
        episodes: demonstrations.
        steps: control steps of a demonstration.
        noise: standard deviation of what is added to the expert's controls [controls].
    """

    domain: str
    goal: str
    merit: Callable[[Array], Array]
    practice: Practice
    episodes: int
    steps: int
    noise: float

    @property
    def name(self) -> str:
        """``domain_goal``."""
        return f'{self.domain}_{self.goal}'


def balanced(states: Array) -> Array:
    """Cart-pole: the pole upright and still, the cart in the middle."""
    cart, pole, cart_speed, pole_speed = np.moveaxis(states, -1, 0)
    tilt = np.square(np.sin(pole / 2.0) / 0.1)
    return (
        np.exp(-(np.square(cart / 0.3) + tilt + np.square(cart_speed / 2.0)) / 3.0)
        - np.square(pole_speed) / 100.0
    )


def walker_stands(states: Array) -> Array:
    """Walker: the torso at 1.2 m and upright, the suite's reward with a straight slope."""
    height, pitch = 1.3 + states[..., 0], states[..., 2]
    return (3.0 * np.clip(height / 1.2, 0.0, 1.0) + (1.0 + np.cos(pitch)) / 2.0) / 4.0


def hopper_stands(states: Array) -> Array:
    """Hopper: the torso high, and only then upright and slow.

    Added up, they would have it kneel still for good: to get up costs rest before it gains height.
    """
    height, pitch, speed = 1.0 + states[..., 1], states[..., 2], states[..., 7]
    high = np.clip((height - 0.2) / 0.75, 0.0, 1.0)
    return high * (3.0 + np.cos(pitch) + np.exp(-np.abs(speed))) / 5.0


def finger_spins(states: Array) -> Array:
    """Finger: the hinge turns backwards at 15 rad/s and a little more."""
    return np.clip(-states[..., 5] / 18.0, -0.2, 1.0)


def cheetah_runs(states: Array) -> Array:
    """Cheetah: the speed of the torso, full at 10 m/s, its back up."""
    return states[..., 9] / 10.0 + 0.1 * np.cos(states[..., 2])


TASKS = {
    task.name: task
    for task in (
        Task('cartpole', 'balance', balanced, Practice(50_000), 40, 500, 0.3),
        Task('walker', 'stand', walker_stands, Practice(100_000), 40, 500, 0.2),
        Task('hopper', 'stand', hopper_stands, Practice(150_000), 40, 500, 0.1),
        Task('finger', 'spin', finger_spins, Practice(150_000), 40, 500, 0.3),
        Task('cheetah', 'run', cheetah_runs, Practice(200_000), 40, 500, 0.1),
    )
}


def task_named(name: str) -> Task:
    """The task of a name.

    Raises:
        ParameterError: there is none.
    """
    if name not in TASKS:
        raise ParameterError(f'{name!r} is no task; use one of {", ".join(TASKS)}.')
    return TASKS[name]
