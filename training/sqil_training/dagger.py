# SPDX-License-Identifier: Apache-2.0
"""sqil-dagger: roll the policy out and record what the expert would have done (DAgger).

Ross, Gordon and Bagnell (2011): a learner must be taught in the states it visits itself. The
expert takes over at random now and then, so that episodes also reach their end.

examples:
  sqil-dagger --checkpoint runs/bc/checkpoint --first-seed 4000 --collection r1 --out data/d
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.errors import RobotFault, SqilError
from sqil_ros.sim.arm import SimulatedArm
from sqil_ros.sim.tasks import TASKS, task_by_name
from sqil_ros.sim.toy_sink import ToySink
from sqil_ros.types import Action
from sqil_training.collect import Job, plan
from sqil_training.demonstrator import EpisodeRecorder
from sqil_training.episodes import Episode, write_episode
from sqil_training.orphans import end_with_parent

# A learner that is stuck shows the same picture again and again; more of it teaches nothing.
LONGEST = 60


class Mixture:
    """Decides who acts: stretches of the policy, interrupted by short ones of the expert."""

    def __init__(self, expert_share: float, rng: np.random.Generator) -> None:
        """Let the expert act on about ``expert_share`` of the steps."""
        self._share, self._rng = expert_share, rng
        self._left, self._expert = 0, False

    def expert_acts(self) -> bool:
        """Whether the expert acts at this step."""
        if self._left == 0:
            self._expert = bool(self._rng.random() < self._share)
            self._left = int(self._rng.integers(2, 10))
        self._left -= 1
        return self._expert


def learn_from_rollouts(
    checkpoint: str, profile: str, jobs: Sequence[Job], batch: int, expert_share: float
) -> Iterator[tuple[Job, Episode]]:
    """Episodes of the policy at ``checkpoint``, labelled by the expert, ``batch`` at a time."""
    from sqil_training.evaluation import policy_actor

    contract = Contract.load()
    actor = policy_actor(checkpoint, profile, contract)
    free = [SimulatedArm(ToySink(contract)) for _ in range(min(batch, len(jobs)))]
    waiting = list(jobs)[::-1]
    running: list[tuple[Job, SimulatedArm, EpisodeRecorder, Mixture]] = []
    while waiting or running:
        while waiting and free:
            job, arm = waiting.pop(), free.pop()
            recorder = EpisodeRecorder(arm, task_by_name(job.task), job.seed, 'dagger')
            mixture = Mixture(expert_share, np.random.default_rng([job.seed, 17]))
            running.append((job, arm, recorder, mixture))
        seen = [recorder.label() for _, _, recorder, _ in running]
        arms = [arm for _, arm, _, _ in running]
        tasks = [task_by_name(job.task) for job, _, _, _ in running]
        rows = actor(arms, tasks, [observation for observation, _ in seen])
        still = []
        for entry, (_, label), row in zip(running, seen, rows, strict=True):
            job, arm, recorder, mixture = entry
            action = label if mixture.expert_acts() else Action(row[:6], float(row[6]))
            try:
                recorder.execute(action)
            except RobotFault:  # the last label still stands; the episode ends here
                over = True
            else:
                over = recorder.over or recorder.steps >= LONGEST
            if over:
                free.append(arm)
                yield job, recorder.episode()
            else:
                still.append(entry)
        running = still


def _worker(arguments: tuple, results: Any) -> None:
    end_with_parent()
    try:
        for job, episode in learn_from_rollouts(*arguments):
            write_episode(job.folder, episode)
            results.put(episode.success)
    except SqilError as error:
        results.put(error)
    results.put(None)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='sqil-dagger', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--checkpoint', required=True, help='directory of the policy')
    parser.add_argument('--profile', default='fp')
    parser.add_argument('--out', type=Path, required=True, help='root of the episode tree')
    parser.add_argument('--collection', required=True, help='name of this round')
    parser.add_argument('--episodes', type=int, default=100, help='episodes per task')
    parser.add_argument('--tasks', nargs='+', default=[task.name for task in TASKS])
    parser.add_argument('--first-seed', type=int, required=True)
    parser.add_argument('--expert-share', type=float, default=0.3)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--batch', type=int, default=4, help='arms per process')
    parser.add_argument('--dry-run', action='store_true', help='say what would be collected')
    args = parser.parse_args(argv)
    try:
        names = [task_by_name(name).name for name in args.tasks]
        jobs = plan(args.out, args.collection, names, args.episodes, args.first_seed)
    except SqilError as error:
        parser.error(str(error))
    if args.dry_run:
        print(f'{len(jobs)} episodes would be written under {args.out}')
        return 0
    context = multiprocessing.get_context('spawn')
    results: Any = context.Queue()
    for i in range(args.workers):
        share = jobs[i :: args.workers]
        arguments = (args.checkpoint, args.profile, share, args.batch, args.expert_share)
        context.Process(target=_worker, args=(arguments, results), daemon=True).start()
    running, won = args.workers, 0
    with tqdm(total=len(jobs), unit='episode') as bar:
        while running:
            result = results.get()
            if result is None:
                running -= 1
                continue
            if isinstance(result, SqilError):
                print(f'sqil-dagger: {result}', file=sys.stderr)
                return 1
            won += result
            bar.update()
            bar.set_postfix(success=won)
    return 0


if __name__ == '__main__':
    sys.exit(main())
