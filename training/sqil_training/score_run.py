# SPDX-License-Identifier: Apache-2.0
"""Episodes scored one by one, each kept as a file of its own until all are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sqil_ros.contract import Contract
from sqil_ros.errors import EpisodeError, ParameterError, ScoreError
from sqil_ros.policy.loader import FULL_PRECISION
from sqil_ros.policy.openvla.checkpoint import load_openvla
from sqil_ros.policy.openvla.statistics import read_spread
from sqil_ros.policy.openvla.teacher import OpenVLATeacher
from sqil_ros.saliency import (
    picture_saliency,
    scored_steps,
    source_steps,
    state_rng,
    vector_saliency,
)
from sqil_ros.saliency.discrepancy import DISCREPANCIES
from sqil_ros.saliency.settings import PROPRIO
from sqil_ros.types import Array
from sqil_training.episodes import episode_digest, observation_at, read_episode
from sqil_training.score_file import read_scores, write_scores
from sqil_training.scores import EpisodeScores, ScoreKey, Scores
from sqil_training.survey import Surveyed


@dataclass(frozen=True)
class Job:
    """What every process needs to know.

    Attributes:
        checkpoint: directory of the teacher.
        contract: file of the robot's contract.
        dataset: key of the teacher's statistics.
        key: how to score, and the fingerprints of policy and contract.
        top: share of heavy frames, for the record.
        beta: their weight, for the record.
        versions: of the packages that score.
        parts: folder of one file per finished episode.
        batch: disturbed states in one pass.
        devices: torch devices; process i uses device i modulo their number.
    """

    checkpoint: Path
    contract: Path
    dataset: str
    key: ScoreKey
    top: float
    beta: float
    versions: dict[str, str]
    parts: Path
    batch: int
    devices: tuple[str, ...]

    def scores(self, episodes: Sequence[EpisodeScores]) -> Scores:
        """Scores of some episodes, with what this job knows about them."""
        return Scores(self.key, self.top, self.beta, self.versions, episodes)


@dataclass(frozen=True)
class Done:
    """One more episode is scored.

    Attributes:
        name: which.
        frames: its length.
        passes: states that the teacher answered for it, counted one by one.
        encoded: pictures that the teacher's encoders saw for it.
    """

    name: str
    frames: int
    passes: int
    encoded: int


class EpisodeScorer:
    """A teacher in this process, ready to score episodes."""

    def __init__(self, job: Job, device: str) -> None:
        """Load the teacher.

        Raises:
            CheckpointError: it is not usable.
            ParameterError: proprioception is to be scored, and the teacher takes none.
        """
        torch.set_num_threads(1)
        self._job = job
        contract = Contract.load(job.contract)
        policy = load_openvla(job.checkpoint, FULL_PRECISION, contract, device)
        scope = DISCREPANCIES[job.key.settings.discrepancy].scope
        self.teacher = OpenVLATeacher(policy, scope)
        self._deviations: Array | None = None
        if job.key.settings.inputs == PROPRIO:
            if not policy.model.config.proprio_dim:
                raise ParameterError(
                    f'{job.checkpoint} takes no proprioception; score its pictures.'
                )
            self._deviations = read_spread(job.checkpoint, job.dataset, 'proprio').std

    def score(self, wanted: Surveyed) -> EpisodeScores:
        """Scores of one episode, by its demonstrated actions.

        Raises:
            EpisodeError: it is broken, or another than was surveyed.
            ScoreError: the teacher's answer is no number.
        """
        episode = read_episode(wanted.folder)
        if episode_digest(episode) != wanted.digest:
            raise EpisodeError(
                f'{wanted.folder} changed while its data set was being scored; run the same '
                'command again once nothing writes to it.'
            )
        settings = self._job.key.settings
        rows = []
        for step in scored_steps(len(episode), settings.stride).tolist():
            state = self.teacher.state(observation_at(episode, step), episode.actions[step])
            rng = state_rng(settings.seed, wanted.name, step)
            if self._deviations is None:
                score = picture_saliency(state, settings, rng, self._job.batch).score
            else:
                local = vector_saliency(
                    state.answer_to_vectors, state.vector, self._deviations,
                    settings.discrepancy, rng,
                )  # fmt: skip
                score = float(local.mean())
            if not math.isfinite(score):
                raise ScoreError(
                    f'The teacher answers step {step} of {wanted.name} with what is no number; '
                    'check its weights.'
                )
            rows.append(score)
        sources = source_steps(len(episode), settings.stride)
        _, group = np.unique(sources, return_inverse=True)
        return EpisodeScores(wanted.name, wanted.digest, np.array(rows)[group], sources)


def part_path(parts: Path, name: str) -> Path:
    """File of one finished episode."""
    return parts / f'{name.replace("/", "~")}.parquet'


def finished(job: Job, data: Sequence[Surveyed]) -> dict[str, EpisodeScores]:
    """What earlier, interrupted runs have scored of ``data``.

    A part that is unreadable or of an episode that changed since is scored again.

    Raises:
        ScoreError: a part was made in another way.
    """
    found = {}
    for wanted in data:
        path = part_path(job.parts, wanted.name)
        try:
            part = read_scores(path)
        except ScoreError:
            continue
        job.key.require(part.key, f'The unfinished run in {job.parts}')
        if part.episodes[0].digest == wanted.digest:
            found[wanted.name] = part.episodes[0]
    return found


def reuse(job: Job, files: Sequence[Path], data: Sequence[Surveyed]) -> int:
    """Keep what other files of scores have of ``data``, as if this run had scored it.

    Returns:
        How many episodes that were. One that changed since is left to be scored again.

    Raises:
        ScoreError: a file is not sound, or was made in another way.
    """
    digests = {wanted.name: wanted.digest for wanted in data}
    count = 0
    for file in files:
        found = read_scores(file)
        job.key.require(found.key, str(file))
        for episode in found.episodes:
            if digests.get(episode.name) == episode.digest:
                write_scores(part_path(job.parts, episode.name), job.scores([episode]))
                count += 1
    return count


def score_share(job: Job, share: Sequence[Surveyed], device: str) -> Iterator[Done]:
    """Score episodes in this process and keep each one."""
    scorer = EpisodeScorer(job, device)
    teacher = scorer.teacher
    for wanted in share:
        passes, encoded = teacher.passes, teacher.encoded
        part = job.scores([scorer.score(wanted)])
        write_scores(part_path(job.parts, wanted.name), part)
        yield Done(wanted.name, wanted.steps, teacher.passes - passes, teacher.encoded - encoded)
