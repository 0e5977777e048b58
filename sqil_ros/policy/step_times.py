# SPDX-License-Identifier: Apache-2.0
"""How long control steps take, of several policies in turns, so that a disturbance hits all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sqil_ros.policy.base import Policy
from sqil_ros.types import Array, Observation

WARM_UP = 5
_MS = 1e3


def step_times(
    policies: Mapping[str, Policy],
    observations: Sequence[Observation],
    rounds: int,
    done: Callable[[], object] = lambda: None,
) -> dict[str, Array]:
    """(rounds,) milliseconds of each policy; round i of all is about the same observation.

    Args:
        policies: by name.
        observations: are answered one after the other, again from the first behind the last.
        rounds: that count; :data:`WARM_UP` more come first.
        done: called after every round.
    """
    spent: dict[str, list[float]] = {name: [] for name in policies}
    for i in range(WARM_UP + rounds):
        for name, policy in policies.items():
            start = time.perf_counter()
            policy.act(observations[i % len(observations)])
            spent[name].append(_MS * (time.perf_counter() - start))
        done()
    return {name: np.array(times[WARM_UP:]) for name, times in spent.items()}


def times_faster(than: Array, own: Array) -> float:
    """How many times as fast as another: the median of the ratios, round by round."""
    return round(float(np.median(than / own)), 3)


def random_observations(side: int, count: int, instruction: str) -> list[Observation]:
    """Noise that a policy of two cameras can be timed on, the same every time.

    Args:
        side: of the pictures [pixels].
        count: of observations.
        instruction: of all of them.
    """
    generator = np.random.default_rng(0)
    found = []
    for stamp in range(count):
        images = tuple(generator.integers(0, 256, (2, side, side, 3), np.uint8))
        state = generator.uniform(-0.5, 0.5, 7)
        found.append(Observation(images, state, state, instruction, stamp))
    return found
