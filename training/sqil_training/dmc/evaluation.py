# SPDX-License-Identifier: Apache-2.0
"""Returns of a policy, every policy from the same initial states."""

from __future__ import annotations

import numpy as np
from torch import nn

from sqil_ros.types import Array
from sqil_training.dmc.policy import likeliest
from sqil_training.dmc.tasks import Task
from sqil_training.dmc.world import STEPS, World

FIRST_SEED = 20_000
"""Seeds from here up are for evaluation alone; demonstrations count from 0."""


class Arena:
    """A row of worlds that one policy acts in at the same time."""

    def __init__(self, task: Task, episodes: int) -> None:
        """Load the worlds."""
        self._worlds = [World(task.domain, task.goal) for _ in range(episodes)]

    def returns(self, policy: nn.Module) -> Array:
        """(episodes,) sums of the suite's rewards, 0 to 1000, of seeds 20000 up."""
        seen = [world.reset(FIRST_SEED + index) for index, world in enumerate(self._worlds)]
        total = np.zeros(len(self._worlds))
        for _ in range(STEPS):
            actions = likeliest(policy, np.stack(seen))
            moments = [w.step(a) for w, a in zip(self._worlds, actions, strict=True)]
            seen = [observation for observation, _ in moments]
            total += [reward for _, reward in moments]
        return total
