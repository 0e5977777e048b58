# SPDX-License-Identifier: Apache-2.0
"""Episodes in LIBERO to learn from, Bridge-style; what exists already is not collected again.

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
from sqil_training.libero.answer import answer_of
from sqil_training.libero.arm import LiberoArm
from sqil_training.libero.arms import arm_of
from sqil_training.libero.demonstrator import demonstrate, teach
from sqil_training.libero.tasks import FIRST_HELD_OUT_SEED, SUITES, task_by_name
from sqil_training.libero.workers import results

BLOCK = 10
"""Episodes before the scene is changed: an unfinished collection should have all tasks."""


@dataclass(frozen=True)
class Learner:
    """Who acts instead of the expert, so as to be taught where it goes itself.

    Attributes:
        checkpoint: directory of the policy.
        profile: of it.
        teacher_share: of the steps at which the expert acts all the same.
    """

    checkpoint: str
    profile: str
    teacher_share: float


@dataclass(frozen=True)
class Job:
    """One episode to be collected, of the expert where there is no learner."""

    task: str
    seed: int
    folder: Path
    learner: Learner | None = None


def plan(
    out: Path,
    collection: str,
    tasks: Sequence[str],
    episodes: int,
    first: int,
    learner: Learner | None = None,
) -> list[Job]:
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
        Job(task, seed, episode_folder(out, task, collection, seed), learner)
        for start in range(first, first + episodes, BLOCK)
        for task in tasks
        for seed in range(start, min(start + BLOCK, first + episodes))
    ]
    return [job for job in jobs if not (job.folder / 'episode.json').exists()]


def run(job: Job) -> tuple[bool, int]:
    """Collect one episode; whether it is kept, and its length.

    A demonstration that fails teaches nothing; the failure of a learner teaches most.
    """
    arm: LiberoArm = arm_of(job.task)
    task, learner = task_by_name(job.task), job.learner
    if learner is None:
        episode = demonstrate(arm, task, job.seed, Noise())
    else:
        answer = answer_of(learner.checkpoint, learner.profile)
        episode = teach(arm, task, job.seed, answer, learner.teacher_share)
    kept = episode.success or learner is not None
    if kept:
        write_episode(job.folder, episode)
    return kept, len(episode)


def collect(args: argparse.Namespace) -> int:
    """Carry out ``collect`` of the command line; returns the exit status."""
    tasks = SUITES[args.suite].names(args.tasks)
    learner = None
    if args.learner is not None:
        learner = Learner(str(args.learner), args.profile, args.teacher_share)
    jobs = plan(args.out, args.collection, tasks, args.episodes, args.first_seed, learner)
    if args.dry_run:
        print(f'{len(jobs)} episodes would be collected under {args.out}')
        return 0
    kept = steps = 0
    with tqdm(total=len(jobs), unit='episode') as bar:
        for keep, length in results(run, jobs, args.workers):
            kept += keep
            steps += length if keep else 0
            bar.update()
            bar.set_postfix(kept=kept, steps=steps)
    print(f'kept {kept} of {len(jobs)} episodes, {steps} steps, under {args.out}')
    return 0
