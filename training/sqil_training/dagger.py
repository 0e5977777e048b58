# SPDX-License-Identifier: Apache-2.0
"""sqil-dagger: roll the policy out and record what its teacher would have done (DAgger).

Ross, Gordon and Bagnell (2011): a learner must be taught in the states it visits itself. The
teacher takes over at random now and then, so that episodes also reach their end. It is the
scripted expert, or the same policy at full precision: on a real robot there is no other.

examples:
  sqil-dagger --checkpoint runs/bc/checkpoint --first-seed 4000 --collection r1 --out data/d
  sqil-dagger --profile int3_rtn --teacher fp --first-seed 7000 --collection p1 --out data/p
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
from sqil_ros.share import share_directory
from sqil_ros.sim.arm import SimulatedArm
from sqil_ros.sim.tasks import TASKS, task_by_name
from sqil_ros.sim.toy_sink import ToySink
from sqil_ros.types import Action, Array
from sqil_training.collect import Job, plan
from sqil_training.comparison import EXPERT
from sqil_training.demonstrator import EpisodeRecorder
from sqil_training.episodes import Episode, write_episode
from sqil_training.mixture import LONGEST, Mixture
from sqil_training.orphans import end_with_parent


def learn_from_rollouts(
    checkpoint: str,
    profile: str,
    teacher: str,
    jobs: Sequence[Job],
    batch: int,
    teacher_share: float,
) -> Iterator[tuple[Job, Episode]]:
    """Episodes of the policy at ``checkpoint``, labelled by its teacher, ``batch`` at a time."""
    from sqil_training.evaluation import policy_actor

    contract = Contract.load()
    actor = policy_actor(checkpoint, profile, contract)
    taught_by = None if teacher == EXPERT else policy_actor(checkpoint, teacher, contract)
    free = [SimulatedArm(ToySink(contract)) for _ in range(min(batch, len(jobs)))]
    waiting = list(jobs)[::-1]
    running: list[tuple[Job, SimulatedArm, EpisodeRecorder, Mixture]] = []
    while waiting or running:
        while waiting and free:
            job, arm = waiting.pop(), free.pop()
            recorder = EpisodeRecorder(arm, task_by_name(job.task), job.seed, 'dagger')
            mixture = Mixture(teacher_share, np.random.default_rng([job.seed, 17]))
            running.append((job, arm, recorder, mixture))
        seen = [recorder.label() for _, _, recorder, _ in running]
        arms = [arm for _, arm, _, _ in running]
        tasks = [task_by_name(job.task) for job, _, _, _ in running]
        observations = [observation for observation, _ in seen]
        labels = [label for _, label in seen]
        rows = actor(arms, tasks, observations)[:, 0]
        if taught_by is not None:
            taught = taught_by(arms, tasks, observations)[:, 0]
            labels = [_action(row) for row in taught]
            for (_, _, recorder, _), label in zip(running, labels, strict=True):
                recorder.relabel(label)
        still = []
        for entry, label, row in zip(running, labels, rows, strict=True):
            job, arm, recorder, mixture = entry
            action = label if mixture.teacher_acts() else _action(row)
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


def _action(row: Array) -> Action:
    return Action(np.asarray(row[:6], dtype=float), float(row[6]))


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
    checkpoint = share_directory() / 'models' / 'toy_sink_openvla'
    parser.add_argument('--checkpoint', default=str(checkpoint), help='directory of the policy')
    parser.add_argument('--profile', default='fp', help='of the policy that acts')
    parser.add_argument(
        '--teacher', default=EXPERT, help='expert, or the profile that labels, such as fp'
    )
    parser.add_argument('--out', type=Path, required=True, help='root of the episode tree')
    parser.add_argument('--collection', required=True, help='name of this round')
    parser.add_argument('--episodes', type=int, default=100, help='episodes per task')
    parser.add_argument('--tasks', nargs='+', default=[task.name for task in TASKS])
    parser.add_argument('--first-seed', type=int, required=True)
    parser.add_argument('--teacher-share', type=float, default=0.3)
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
        arguments = (
            args.checkpoint, args.profile, args.teacher, share, args.batch, args.teacher_share,
        )  # fmt: skip
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
