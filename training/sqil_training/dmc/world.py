# SPDX-License-Identifier: Apache-2.0
"""A task of the DeepMind Control Suite as vectors; the only module that imports dm_control."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import numpy as np

from sqil_ros.errors import SceneError
from sqil_ros.types import Array

STEPS = 1000
"""Control steps of an episode, and so its largest return: the suite's own."""


class World:
    """One simulation.

    Attributes:
        action_size: number of controls, each in [-1, 1].
    """

    def __init__(self, domain: str, task: str) -> None:
        """Load a task; it begins with :meth:`reset`.

        Raises:
            SceneError: dm_control is not installed, or has no such task.
        """
        suite = _suite()
        if (domain, task) not in suite.ALL_TASKS:
            raise SceneError(
                f'The suite has no task {domain} {task}; it has '
                f'{", ".join(" ".join(names) for names in suite.ALL_TASKS)}.'
            )
        self._environment = suite.load(domain, task, task_kwargs={'random': 0})
        self.action_size: int = self._environment.action_spec().shape[0]

    def reset(self, seed: int) -> Array:
        """Begin the episode that ``seed`` names; returns the first observation (D,)."""
        self._environment.task.random.seed(seed)
        return _flat(self._environment.reset().observation)

    def step(self, action: Array) -> tuple[Array, float]:
        """One control step.

        Args:
            action: (A,) controls; what lies beyond [-1, 1] is cut.

        Returns:
            The next observation (D,) and the reward, 0 to 1.
        """
        moment = self._environment.step(np.clip(action, -1.0, 1.0))
        return _flat(moment.observation), float(moment.reward)

    @property
    def state(self) -> Array:
        """(nq + nv,) positions and velocities."""
        state: Array = self._environment.physics.get_state()
        return state


def _suite() -> ModuleType:
    try:
        from dm_control import suite
    except ModuleNotFoundError as error:
        raise SceneError(f"{error}; install the extra with: pip install '.[dmc]'") from error
    return suite


def _flat(observation: Mapping[str, Array]) -> Array:
    """All numbers of an observation in the suite's order."""
    return np.concatenate([np.ravel(value) for value in observation.values()])
