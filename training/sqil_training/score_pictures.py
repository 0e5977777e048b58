# SPDX-License-Identifier: Apache-2.0
"""Saliency for the eye: where a policy looked, and when it mattered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sqil_ros.policy.openvla.teacher import OpenVLATeacher
from sqil_ros.saliency import SaliencySettings, picture_saliency, state_rng
from sqil_ros.saliency.grid import EACH
from sqil_ros.saliency.heat_map import heat_maps
from sqil_ros.types import Array, Image
from sqil_training.episodes import Episode, observation_at
from sqil_training.scores import EpisodeScores

SIZE = 224
"""Side of a drawn picture [pixels]."""

FRAMES = 9
"""Frames shown of one episode."""


@dataclass(frozen=True)
class Moment:
    """One frame of an episode.

    Attributes:
        step: which.
        score: its State Importance Score.
        overlays: (SIZE, SIZE, 3) uint8 RGB picture of each camera under its heat map.
    """

    step: int
    score: float
    overlays: tuple[Image, ...]


def moments(
    teacher: OpenVLATeacher, episode: Episode, scores: EpisodeScores, settings: SaliencySettings
) -> list[Moment]:
    """Scored frames, evenly spread over an episode, with a map of every camera.

    The maps need each camera disturbed alone, so the teacher is asked again; within a frame all
    cameras share one scale.
    """
    alone = dataclasses.replace(settings, cameras=EACH)
    scored = np.unique(scores.sources)
    count = min(FRAMES, len(scored))
    chosen = scored[np.linspace(0, len(scored) - 1, count).round().astype(int)]
    return [_moment(teacher, episode, scores, alone, step) for step in chosen.tolist()]


def gripper_events(openings: Array) -> dict[int, str]:
    """Steps at which the commanded opening (T,), 1 = open, has crossed one half."""
    wide = openings > 0.5
    changed = np.flatnonzero(wide[1:] != wide[:-1]) + 1
    return {int(step): 'opens' if wide[step] else 'closes' for step in changed}


def spread(episodes: Sequence[EpisodeScores], count: int) -> list[EpisodeScores]:
    """``count`` episodes, evenly spread over all."""
    count = min(count, len(episodes))
    return [episodes[i * len(episodes) // count] for i in range(count)]


def _moment(
    teacher: OpenVLATeacher,
    episode: Episode,
    scores: EpisodeScores,
    settings: SaliencySettings,
    step: int,
) -> Moment:
    observation = observation_at(episode, step)
    state = teacher.state(observation, episode.actions[step])
    maps = picture_saliency(state, settings, state_rng(settings.seed, scores.name, step)).maps
    overlays = heat_maps(observation.images, maps, SIZE)
    return Moment(step, float(scores.scores[step]), overlays)
