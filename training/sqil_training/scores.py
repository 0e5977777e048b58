# SPDX-License-Identifier: Apache-2.0
"""Saliency scores of a data set, by episode and step, and the weights they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sqil_ros.errors import ScoreError
from sqil_ros.saliency import SaliencySettings, check_mean_weight, raw_weights, weights
from sqil_ros.types import Array
from sqil_training.survey import Surveyed, dataset_digest

Steps = NDArray[np.int64]


@dataclass(frozen=True)
class ScoreKey:
    """Scores with equal keys mean the same.

    Attributes:
        settings: how they were made.
        checkpoint: fingerprint of the policy that was asked.
        contract: hash of the contract of policy and data.
    """

    settings: SaliencySettings
    checkpoint: str
    contract: str

    def require(self, found: ScoreKey, holder: str) -> None:
        """Refuse scores that were made in another way.

        Raises:
            ScoreError: ``found`` differs; ``holder`` says whose key it is.
        """
        wanted_facts, found_facts = _flat(self), _flat(found)
        for name, wanted in wanted_facts.items():
            if found_facts[name] != wanted:
                raise ScoreError(
                    f'{holder} was made with {name} {found_facts[name]!r}, wanted is {wanted!r}; '
                    'score the data again into another file.'
                )


@dataclass(frozen=True)
class EpisodeScores:
    """Scores of one episode of T frames.

    Attributes:
        name: see :func:`sqil_training.episodes.episode_name`.
        digest: fingerprint of the episode that was scored.
        scores: (T,) State Importance Score of every frame.
        sources: (T,) the frame that was scored for each frame, itself or an earlier one.
    """

    name: str
    digest: str
    scores: Array
    sources: Steps


@dataclass(frozen=True)
class Scores:
    """Scores of a data set.

    Attributes:
        key: how they were made.
        top: share of the frames that is to count more, p.
        beta: how much more.
        versions: of the packages that made them.
        episodes: sorted by name.
    """

    key: ScoreKey
    top: float
    beta: float
    versions: Mapping[str, str]
    episodes: Sequence[EpisodeScores]

    @cached_property
    def values(self) -> Array:
        """(frames,) all scores, episode after episode."""
        return np.concatenate([episode.scores for episode in self.episodes])

    @property
    def dataset(self) -> str:
        """Fingerprint of the scored data."""
        return dataset_digest([(episode.name, episode.digest) for episode in self.episodes])

    def require_data(self, data: Sequence[Surveyed]) -> None:
        """Assert that every frame of ``data`` has a score, and that no other has.

        Raises:
            ScoreError: an episode lacks, is another or has another length.
        """
        own = {episode.name: episode for episode in self.episodes}
        covered = sum(wanted.steps for wanted in data if _covers(own.get(wanted.name), wanted))
        total = sum(wanted.steps for wanted in data)
        for wanted in data:
            found = own.get(wanted.name)
            if not _covers(found, wanted):
                what = 'has no scores' if found is None else 'is not the one that was scored'
                raise ScoreError(
                    f'Scores cover {covered} of {total} frames ({covered / total:.1%}), all must '
                    f'be: episode {wanted.name} {what}. Score these data with sqil-score.'
                )
        if strangers := own.keys() - {wanted.name for wanted in data}:
            raise ScoreError(
                f'The scores are of {len(own)} episodes, but the data lack {len(strangers)} of '
                f'them, such as {min(strangers)}, and without it the threshold would be another; '
                'restore the episodes or score these data alone.'
            )

    def weights(self, top: float | None = None, beta: float | None = None) -> dict[str, Array]:
        """(T,) weight of every frame, by episode.

        Args:
            top: share of heavy frames; what the file says if left out.
            beta: their weight; what the file says if left out.

        Raises:
            ScoreError: the mean weight is not 1 + p (beta - 1).
        """
        top = self.top if top is None else top
        beta = self.beta if beta is None else beta
        alpha = weights(self.values, top, beta)
        lengths = [len(episode.scores) for episode in self.episodes]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        groups = np.concatenate(
            [start + e.sources for start, e in zip(starts[:-1], self.episodes, strict=True)]
        )
        check_mean_weight(alpha, self.values, groups, top, beta)
        return self._by_episode(alpha)

    def raw_weights(self) -> dict[str, Array]:
        """(T,) weight of every frame, by episode: its score, the mean over all frames being 1."""
        return self._by_episode(raw_weights(self.values))

    def _by_episode(self, values: Array) -> dict[str, Array]:
        ends = np.cumsum([len(episode.scores) for episode in self.episodes])
        parts = np.split(values, ends[:-1])
        return {e.name: part for e, part in zip(self.episodes, parts, strict=True)}


def _covers(found: EpisodeScores | None, wanted: Surveyed) -> bool:
    return (
        found is not None and found.digest == wanted.digest and len(found.scores) == wanted.steps
    )


def _flat(key: ScoreKey) -> dict[str, object]:
    return asdict(key.settings) | {'checkpoint': key.checkpoint, 'contract': key.contract}
