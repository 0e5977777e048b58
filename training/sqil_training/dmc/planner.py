# SPDX-License-Identifier: Apache-2.0
"""The expert: sampling model-predictive control with the simulator itself as the model.

MPPI (Williams et al., 2017) with smooth disturbances: the last plan is disturbed at random, every
disturbed plan is tried in the simulator, and their mean, weighted by how well they went, is the
new plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sqil_ros.types import Array
from sqil_training.dmc.world import World

FIRST_ROUNDS = 6
"""Rounds of planning before the first step, when there is no plan to begin with."""
FINE = 0.3
"""Half of the disturbances are so much smaller: they polish where the others explore."""


@dataclass(frozen=True)
class Foresight:
    """How a plan is found.

    Attributes:
        horizon: control steps that a plan looks ahead.
        knots: points between which a disturbance runs straight.
        samples: plans tried in a round.
        spread: standard deviation of a disturbance [controls].
        temperature: how fast worse plans lose weight, in standard deviations of their rewards.
        every: control steps between two rounds.
    """

    horizon: int
    knots: int
    samples: int
    spread: float = 0.5
    temperature: float = 0.1
    every: int = 2


class Expert:
    """Plans for one world, episode by episode."""

    def __init__(
        self,
        world: World,
        merit: Callable[[Array], Array],
        foresight: Foresight,
        rng: np.random.Generator,
    ) -> None:
        """Begin an episode.

        Args:
            world: what is acted in.
            merit: (..., nq + nv) states to (...) how good they are, about 0 to 1.
            foresight: how to plan.
            rng: chance of the disturbances.
        """
        self._world, self._merit, self._foresight, self._rng = world, merit, foresight, rng
        self._plan = np.zeros((foresight.horizon, world.action_size))
        self._steps = 0

    def act(self) -> Array:
        """(A,) control for the world's present state, in [-1, 1]."""
        if self._steps % self._foresight.every == 0:
            for _ in range(1 if self._steps else FIRST_ROUNDS):
                self._improve()
        self._steps += 1
        action = self._plan[0]
        self._plan = np.concatenate([self._plan[1:], self._plan[-1:]])
        return action

    def _improve(self) -> None:
        plans = np.clip(self._plan + self._disturbances(), -1.0, 1.0)
        merits = self._merit(self._world.imagine(plans)).mean(axis=1)
        weights = blend(merits, self._foresight.temperature)
        self._plan = np.tensordot(weights, plans, axes=1)

    def _disturbances(self) -> Array:
        """(N, H, A); the first is none at all."""
        foresight = self._foresight
        size = (foresight.samples, foresight.knots, self._world.action_size)
        values = self._rng.normal(0.0, foresight.spread, size)
        values[foresight.samples // 2 :] *= FINE
        values[0] = 0.0
        return between_knots(values, foresight.horizon)


def between_knots(values: Array, length: int) -> Array:
    """(N, knots, A) values to (N, length, A), straight between evenly spread knots."""
    last = values.shape[1] - 1
    places = np.linspace(0.0, last, length)
    left = np.minimum(places.astype(int), max(0, last - 1))
    share = (places - left)[:, None]
    return values[:, left] * (1.0 - share) + values[:, np.minimum(left + 1, last)] * share


def blend(merits: Array, temperature: float) -> Array:
    """(N,) merits to (N,) weights that sum to 1; all equal where the merits are."""
    apart = (merits - merits.max()) / (temperature * (merits.std() + 1e-9))
    weights = np.exp(apart)
    return weights / weights.sum()
