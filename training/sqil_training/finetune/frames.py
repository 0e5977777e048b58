# SPDX-License-Identifier: Apache-2.0
"""The frames of a data set with their saliency weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from sqil_ros.errors import ScoreError
from sqil_ros.types import Array, Observation
from sqil_training.episodes import observation_at, read_episode
from sqil_training.survey import Surveyed


@dataclass(frozen=True)
class Drawn:
    """B frames.

    Attributes:
        observations: what the policy sees.
        actions: (B, 7) demonstrated.
        alpha: (B,) weights.
    """

    observations: Sequence[Observation]
    actions: Array
    alpha: Array


class WeightedFrames:
    """Every frame of some episodes with its weight; pictures stay JPEG until they are drawn."""

    def __init__(
        self, surveyed: Sequence[Surveyed], weights: Mapping[str, Array] | None = None
    ) -> None:
        """Read the episodes.

        Args:
            surveyed: the data, as :func:`sqil_training.survey.survey` found them.
            weights: (T,) weights by episode; None gives every frame the weight 1.

        Raises:
            EpisodeError: an episode is broken.
            ScoreError: an episode has no weights, or too few.
        """
        with ThreadPoolExecutor(4) as pool:
            self._episodes = list(pool.map(lambda found: read_episode(found.folder), surveyed))
        alpha = {found.name: np.ones(found.steps) for found in surveyed}
        if weights is not None:
            alpha |= {name: weights.get(name, np.empty(0)) for name in alpha}
        for found in surveyed:
            if len(alpha[found.name]) != found.steps:
                raise ScoreError(
                    f'Episode {found.name} has {found.steps} frames and '
                    f'{len(alpha[found.name])} weights; score these data with sqil-score.'
                )
        self._alpha = np.concatenate([alpha[found.name] for found in surveyed])
        self._ends = np.cumsum([found.steps for found in surveyed])

    def __len__(self) -> int:
        return len(self._alpha)

    def draw(self, seed: int, step: int, batch: int) -> np.ndarray:
        """(batch,) frames that a step trains with: the same whenever and wherever it is asked."""
        return np.random.default_rng([seed, step]).integers(len(self), size=batch)

    def at(self, frames: np.ndarray) -> Drawn:
        """The frames of the given (B,) numbers."""
        episodes = np.searchsorted(self._ends, frames, side='right')
        steps = frames - np.concatenate([[0], self._ends])[episodes]
        found = [(self._episodes[e], int(t)) for e, t in zip(episodes, steps, strict=True)]
        return Drawn(
            [observation_at(episode, t) for episode, t in found],
            np.stack([episode.actions[t] for episode, t in found]),
            self._alpha[frames],
        )
