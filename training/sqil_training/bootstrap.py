# SPDX-License-Identifier: Apache-2.0
"""Intervals of means over training seeds and initial states."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sqil_ros.types import Array

DRAWS = 10_000
_TAILS = (0.025, 0.975)


def interval(
    statistic: Callable[..., Array], *returns: Array, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval (Efron, 1979) over training seeds and initial states.

    Seeds and states are drawn each for themselves and crossed, as they were run, and all of
    ``returns`` are drawn alike: they stay paired.

    Args:
        statistic: (draws,) means of every one of ``returns`` to (draws,) values.
        returns: (seeds, episodes) each; returns of the domain, or successes.
        draws: how many.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    seeds, episodes = returns[0].shape
    rows = rng.integers(seeds, size=(draws, seeds, 1))
    columns = rng.integers(episodes, size=(draws, 1, episodes))
    values = statistic(*(one[rows, columns].mean(axis=(1, 2)) for one in returns))
    low, high = np.quantile(values, _TAILS)
    return float(low), float(high)


def ratio(means: Array, of: Array) -> Array:
    """(draws,) quotients of two means; not finite where the second is 0."""
    with np.errstate(divide='ignore', invalid='ignore'):
        return means / of
