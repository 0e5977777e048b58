# SPDX-License-Identifier: Apache-2.0
"""Held-out frames: episodes that no policy was trained with, and what each frame counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.errors import EpisodeError
from sqil_ros.policy.manifest import CheckpointManifest
from sqil_training.finetune.frames import Drawn, WeightedFrames
from sqil_training.score_file import read_scores
from sqil_training.scores import ScoreKey, Scores
from sqil_training.survey import Surveyed, dataset_digest, survey


@dataclass(frozen=True)
class HeldOut:
    """Frames to compare policies on.

    Attributes:
        episodes: sorted by name.
        digest: fingerprint of their content.
        scores: of their frames; None to let all count alike.
    """

    episodes: tuple[Surveyed, ...]
    digest: str
    scores: Scores | None

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return sum(episode.steps for episode in self.episodes)

    def batches(self, size: int) -> Iterator[Drawn]:
        """All frames in order, up to ``size`` at a time."""
        for start in range(0, self.frames, size):
            yield self._weighted.at(np.arange(start, min(start + size, self.frames)))

    @cached_property
    def _weighted(self) -> WeightedFrames:
        return WeightedFrames(
            self.episodes, None if self.scores is None else self.scores.weights()
        )


def held_out(
    root: Path,
    scores: Path | None,
    contract: Contract,
    manifest: CheckpointManifest,
    trained_from: str = '',
    limit: int | None = None,
) -> HeldOut:
    """Read and check the episodes, and their scores.

    Args:
        root: an episode tree.
        scores: file of ``sqil-score`` about these episodes; None for none.
        contract: of the robot.
        manifest: of the checkpoint, which must have given the scores.
        trained_from: fingerprints of what a student was trained with; empty if unknown.
        limit: only so many episodes, spread evenly over all.

    Raises:
        EpisodeError: there are no episodes, one is broken, or the student has seen them.
        ScoreError: the scores are of other data or of another policy.
        ContractMismatch: the episodes are of another robot.
    """
    episodes = tuple(survey([root], contract, limit))
    digest = dataset_digest([(episode.name, episode.digest) for episode in episodes])
    if digest in trained_from:
        raise EpisodeError(
            f'{root} holds the data that the run was trained with ({digest[:12]}...), so nothing '
            'is held out; name other episodes with --held (sqil-collect makes them).'
        )
    found = None if scores is None else read_scores(scores)
    if found is not None:
        wanted = ScoreKey(found.key.settings, manifest.digest, contract.hash)
        wanted.require(found.key, str(scores))
        found.require_data(episodes)
    return HeldOut(episodes, digest, found)
