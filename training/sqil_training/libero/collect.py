# SPDX-License-Identifier: Apache-2.0
"""Demonstrations in LIBERO as Bridge-style episodes; what exists already is not collected again.

Episode i of a task starts from the placement that LIBERO's own sampler draws for seed
first_seed + i. LIBERO's initial states, which judge, are never used here.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from sqil_ros.errors import SceneError
from sqil_training.demonstrator import Noise
from sqil_training.episodes import episode_folder, write_episode
from sqil_training.libero.arm import LiberoArm
from sqil_training.libero.arms import arm_of
from sqil_training.libero.demonstrator import demonstrate
from sqil_training.libero.tasks import FIRST_HELD_OUT_SEED, SUITES, task_by_name
from sqil_training.libero.workers import results

BLOCK = 10
"""Episodes before the scene is changed: an unfinished collection should have all tasks."""


@dataclass(frozen=True)
class Job:
    """One episode to be collected."""

    task: str
    seed: int
    folder: Path


def plan(out: Path, collection: str, tasks: Sequence[str], episodes: int, first: int) -> list[Job]:
    """Episodes that do not exist yet, ``BLOCK`` of every task in turn.

    Raises:
        SceneError: a seed is one of those that are kept for measuring the expert.
    """
    if first + episodes > FIRST_HELD_OUT_SEED:
        raise SceneError(
            f'Seeds would run to {first + episodes - 1}, but those from {FIRST_HELD_OUT_SEED} on '
            'are kept for judging; ask for fewer episodes or a lower --first-seed.'
        )
    jobs = [
        Job(task, seed, episode_folder(out, task, collection, seed))
        for start in range(first, first + episodes, BLOCK)
        for task in tasks
        for seed in range(start, min(start + BLOCK, first + episodes))
    ]
    return [job for job in jobs if not (job.folder / 'episode.json').exists()]


def run(job: Job) -> tuple[bool, int]:
    """Collect one episode; whether it succeeded, and its length. A failure teaches nothing."""
    arm: LiberoArm = arm_of(job.task)
    episode = demonstrate(arm, task_by_name(job.task), job.seed, Noise())
    if episode.success:
        write_episode(job.folder, episode)
    return episode.success, len(episode)


def collect(args: argparse.Namespace) -> int:
    """Carry out ``collect`` of the command line; returns the exit status."""
    tasks = SUITES[args.suite].names(args.tasks)
    jobs = plan(args.out, args.collection, tasks, args.episodes, args.first_seed)
    if args.dry_run:
        print(f'{len(jobs)} episodes would be collected under {args.out}')
        return 0
    kept = steps = 0
    with tqdm(total=len(jobs), unit='episode') as bar:
        for success, length in results(run, jobs, args.workers):
            kept += success
            steps += length if success else 0
            bar.update()
            bar.set_postfix(kept=kept, steps=steps)
    print(f'kept {kept} of {len(jobs)} episodes, {steps} steps, under {args.out}')
    return 0
