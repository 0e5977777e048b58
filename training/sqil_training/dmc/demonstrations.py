# SPDX-License-Identifier: Apache-2.0
"""What the expert does, on disk: a file for every episode, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sqil_ros.errors import EpisodeError
from sqil_ros.types import Array
from sqil_training.dmc.expert import Expert
from sqil_training.dmc.expert_file import expert_settings
from sqil_training.dmc.tasks import Task
from sqil_training.dmc.world import World
from sqil_training.whole_file import whole_file

_SETTINGS = 'settings'


@dataclass(frozen=True)
class Demonstration:
    """An episode.

    Attributes:
        observations: (T, D) what was seen.
        actions: (T, A) what the expert wanted, without noise.
        rewards: (T,) the suite's, of what was done.
    """

    observations: Array
    actions: Array
    rewards: Array


def demonstrate(task: Task, world: World, expert: Expert, seed: int) -> Demonstration:
    """One episode of the expert, whose hand shakes: noise is done, but what it wanted is kept.

    So the demonstrations show the way back, too (DART, arXiv 1703.09327).
    """
    rng = np.random.default_rng(seed)
    observation = world.reset(seed)
    rows = []
    for _ in range(task.steps):
        action = expert.act(observation)
        after, reward = world.step(action + rng.normal(0.0, task.noise, action.shape))
        rows.append((observation, action, reward))
        observation = after
    observations, actions, rewards = zip(*rows, strict=True)
    return Demonstration(np.stack(observations), np.stack(actions), np.array(rewards))


def collect(
    task: Task, folder: Path, expert: Callable[[], Expert], done: Callable[[], None]
) -> list[Demonstration]:
    """All demonstrations of a task; those that lie in ``folder`` are read, the others made.

    Args:
        task: seeds are 0 to ``task.episodes`` - 1.
        folder: of the files.
        expert: gives the one who demonstrates; asked where a file is missing.
        done: called after every episode.

    Raises:
        EpisodeError: a file is broken, or was made in another way.
    """
    world = World(task.domain, task.goal)
    found = []
    for seed in range(task.episodes):
        path = folder / f'{seed:04d}.safetensors'
        if not path.is_file():
            _write(path, task, demonstrate(task, world, expert(), seed))
        found.append(_read(path, task))
        done()
    return found


def stacked(demonstrations: Sequence[Demonstration]) -> tuple[Array, Array]:
    """Observations (n, D) and actions (n, A) of all frames."""
    return (
        np.concatenate([one.observations for one in demonstrations]),
        np.concatenate([one.actions for one in demonstrations]),
    )


def settings_of(task: Task) -> str:
    """Everything about the task that decides a demonstration, given its seed."""
    return json.dumps([expert_settings(task), {'steps': task.steps, 'noise': task.noise}])


def _write(path: Path, task: Task, one: Demonstration) -> None:
    with whole_file(path) as file:
        file.write(save(asdict(one), {_SETTINGS: settings_of(task)}))


def _read(path: Path, task: Task) -> Demonstration:
    try:
        with safe_open(path, framework='numpy') as file:
            settings = file.metadata()[_SETTINGS]
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise EpisodeError(
            f'{path} cannot be read ({error}); remove it to make it anew.'
        ) from error
    if settings != settings_of(task):
        raise EpisodeError(
            f'{path} was made with {settings}, wanted is {settings_of(task)}; give these '
            'demonstrations another directory with --out.'
        )
    return Demonstration(**arrays)
