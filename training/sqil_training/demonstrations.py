# SPDX-License-Identifier: Apache-2.0
"""Episodes as one table in memory, and batches drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.errors import EpisodeError
from sqil_ros.types import Array
from sqil_training.chunks import chunks_from
from sqil_training.command_shift import shifted
from sqil_training.domain import Domain
from sqil_training.episodes import Episode, decode_picture, episode_folders, read_episode


@dataclass(frozen=True)
class Samples:
    """A batch as arrays: B pictures and R questions about them.

    Attributes:
        images: (B, cameras, H, W, 3) uint8 RGB.
        keypoints: (B, cameras, P, 2) pixel positions in 0..1 (simulation only).
        places: (B, cameras, P, 3) the same points in metres, as :func:`_places` has them.
        axis: (B, cameras) direction of the domain's elongated object as each camera can tell it
            [rad], NaN if unknown.
        turn: (R,) from the command's yaw to that direction where it is of the source, else NaN.
        picture: (R,) which of the B pictures a question is about.
        tasks: (R,) index of the task a question is about.
        instructions: R sentences.
        proprio: (R, 14) measured state, then command.
        actions: (R, 7) labels.
        chunks: (R, K, 7) ``actions`` and what follows them in the demonstration.
        known: (R, K) whether it follows: not behind the episode's end, and only the first step
            where another task or another command is asked about.
        goals: (R, 9) source, target and TCP command position [m] (simulation only).
    """

    images: np.ndarray
    keypoints: Array
    places: Array
    axis: Array
    turn: Array
    picture: np.ndarray
    tasks: np.ndarray
    instructions: list[str]
    proprio: Array
    actions: Array
    chunks: Array
    known: np.ndarray
    goals: Array


class Demonstrations:
    """Every step of every episode under some roots; pictures stay JPEG until they are drawn."""

    def __init__(self, roots: Sequence[Path], domain: Domain) -> None:
        """Read all episodes of ``domain``.

        Raises:
            EpisodeError: there is none, one is broken, or it was made under another contract.
        """
        contract = Contract.load(domain.contract)
        folders = [folder for root in roots for folder in episode_folders(root)]
        if not folders:
            raise EpisodeError(
                f'No episodes under {", ".join(map(str, roots))}; run sqil-collect first.'
            )
        with ThreadPoolExecutor(4) as pool:
            episodes = list(
                tqdm(pool.map(read_episode, folders), total=len(folders), unit='episode')
            )
        for folder, episode in zip(folders, episodes, strict=True):
            if episode.contract != contract.hash:
                raise EpisodeError(
                    f'{folder} was recorded under contract {episode.contract}, this robot has '
                    f'{contract.hash}; record it again.'
                )
            if episode.task not in domain.tasks:
                raise EpisodeError(
                    f'{folder} is of task {episode.task!r}, which {domain.name} has not; keep the '
                    'episodes of each domain under a root of their own.'
                )
        self.domain, self.contract = domain, contract
        self.trajectories = len(episodes)
        self._join(episodes)

    def _join(self, episodes: list[Episode]) -> None:
        names = self.domain.tasks
        self.proprio = np.concatenate(
            [np.hstack([episode.states, episode.commands]) for episode in episodes]
        )
        self.actions = np.concatenate([episode.actions for episode in episodes])
        ends = np.cumsum([len(episode) for episode in episodes])
        self.last = np.repeat(ends - 1, [len(episode) for episode in episodes])
        self.task = np.concatenate(
            [np.full(len(episode), names.index(episode.task)) for episode in episodes]
        )
        self.labels = np.concatenate(
            [episode.privileged['labels'].reshape(-1, len(names), 7) for episode in episodes]
        )
        self.keypoints = np.concatenate(
            [
                episode.privileged['keypoints'].reshape(len(episode), 2, -1, 2)
                for episode in episodes
            ]
        )
        self.objects = np.concatenate(
            [episode.privileged['objects'].reshape(len(episode), -1, 3) for episode in episodes]
        )
        self.axis = np.concatenate([self.domain.axis(episode) for episode in episodes])
        self.pictures = [
            tuple(camera[t] for camera in episode.pictures)
            for episode in episodes
            for t in range(len(episode))
        ]

    def __len__(self) -> int:
        return len(self.actions)

    def draw(
        self, rng: np.random.Generator, size: int, relabel: float, shift: float, chunk: int = 1
    ) -> Samples:
        """A random batch.

        Args:
            rng: source of chance.
            size: number of pictures.
            relabel: chance that a picture with an open gripper is asked about a second time,
                with the instruction of another task; it teaches that words decide.
            shift: chance that a question is about another command, as :func:`shifted` has it.
            chunk: actions of an answer.
        """
        domain = self.domain
        rows = rng.integers(len(self), size=size)
        again = np.flatnonzero((rng.random(size) < relabel) & (self.proprio[rows, 13] > 0.5))
        other = self._other_tasks(rows[again], rng)
        # A task whose object is not in the scene has no answer there.
        answered = ~np.isnan(self.labels[rows[again], other, 0])
        again, other = again[answered], other[answered]
        picture = np.concatenate([np.arange(size), again])
        samples = self._samples(rows, picture, np.concatenate([self.task[rows], other]), chunk)
        objects = self._as_asked(rows[picture], samples.tasks)
        for i in np.flatnonzero(rng.random(len(picture)) < shift):
            row, task = rows[picture[i]], samples.tasks[i]
            samples.known[i, 1:] = False
            samples.proprio[i], samples.actions[i] = shifted(
                domain.expert, self.contract, self.proprio[row], objects[i],
                self.axis[row], task, self.labels[row, task], rng,
            )  # fmt: skip
        samples.chunks[:, 0] = samples.actions
        samples.goals[:, 6:] = samples.proprio[:, 7:10]
        samples.turn[:] -= samples.proprio[:, 12]
        return samples

    def _samples(
        self, rows: np.ndarray, picture: np.ndarray, tasks: np.ndarray, chunk: int
    ) -> Samples:
        images = np.stack(
            [np.stack([decode_picture(data) for data in self.pictures[row]]) for row in rows]
        )
        asked, domain = rows[picture], self.domain
        sources, targets = domain.sources[tasks], domain.targets[tasks]
        places = self._as_asked(asked, tasks)
        index = np.arange(len(asked))
        chunks, known = chunks_from(self.actions, self.last, asked, chunk)
        known[tasks != self.task[asked], 1:] = False
        return Samples(
            images=images,
            keypoints=self.keypoints[rows],
            places=_places(self.objects[rows], self.proprio[rows, :3], domain.middle),
            axis=np.stack([self.axis[rows], self.axis[rows] - self.proprio[rows, 5]], axis=1),
            turn=np.where(sources == domain.elongated, self.axis[asked], np.nan),
            picture=picture,
            tasks=tasks,
            instructions=[domain.instructions[task] for task in tasks],
            proprio=self.proprio[asked],
            actions=self.labels[asked, tasks],
            chunks=chunks,
            known=known,
            goals=np.hstack(
                [places[index, sources], places[index, targets], self.proprio[asked, 7:10]]
            ),
        )

    def _other_tasks(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(R,) another task than each row's own; of ``alike`` objects the answered one."""
        own, tasks = self.task[rows], len(self.domain.tasks)
        if self.domain.alike is None:
            return (own + rng.integers(1, tasks, size=len(rows))) % tasks
        answered = ~np.isnan(self.labels[rows, :, 0])
        answered[np.arange(len(rows)), own] = False
        return answered.argmax(axis=1)

    def _as_asked(self, rows: np.ndarray, tasks: np.ndarray) -> Array:
        """(R, P, 3) recorded places, those of the domain's ``alike`` as ``tasks`` mean them."""
        places = self.objects[rows]
        if self.domain.alike is not None:
            other = np.flatnonzero(tasks != self.task[rows])[:, None]
            places[other, self.domain.alike] = places[other, self.domain.alike[::-1]]
        return places


def _places(objects: Array, tcp: Array, middle: Array) -> Array:
    """What each camera can tell of the (N, P, 3) objects and the (N, 3) measured TCP.

    The third-person camera stands still and knows the world, from its ``middle`` on; the wrist
    camera moves with the TCP and knows what lies around it.
    """
    points = np.concatenate([objects, tcp[:, None]], axis=1)
    return np.stack([points - middle, points - tcp[:, None]], axis=1)
