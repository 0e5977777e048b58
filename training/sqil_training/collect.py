# SPDX-License-Identifier: Apache-2.0
"""sqil-collect: demonstrations of the scripted expert as Bridge-style episodes.

examples:
  sqil-collect --episodes 800 --out data/expert --workers 2
  sqil-collect --episodes 2 --tasks lift_eggplant --out data/try --dry-run

Episode i of task k uses seed first_seed + 4 i + k, so no two tasks share a layout. Running the
same command again only collects what is missing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from sqil_ros.errors import RobotFault, SqilError
from sqil_ros.sim.arm import SimulatedArm
from sqil_ros.sim.tasks import TASKS, task_by_name
from sqil_ros.sim.toy_sink import ToySink
from sqil_training.demonstrator import Noise, demonstrate
from sqil_training.episodes import episode_folder, write_episode
from sqil_training.orphans import end_with_parent

LAST_TRAINING_SEED = 9999


@dataclass(frozen=True)
class Job:
    """One episode to be collected."""

    task: str
    seed: int
    folder: Path


_arm: SimulatedArm | None = None


def _start_worker() -> None:
    global _arm
    end_with_parent()
    _arm = SimulatedArm(ToySink())


def _run(job: Job) -> tuple[str, bool, int]:
    if _arm is None:
        _start_worker()
    assert _arm is not None
    try:
        episode = demonstrate(_arm, task_by_name(job.task), job.seed, Noise())
    except RobotFault:  # noise drove the arm out of reach; the episode teaches nothing
        return job.task, False, 0
    if episode.success:
        write_episode(job.folder, episode)
    return job.task, episode.success, len(episode)


def plan(out: Path, collection: str, tasks: list[str], episodes: int, first: int) -> list[Job]:
    """Episodes that do not exist yet.

    Raises:
        SqilError: a seed would leave the training range.
    """
    order = [task.name for task in TASKS]
    last = first + len(order) * episodes - 1
    if last > LAST_TRAINING_SEED:
        raise SqilError(
            f'Seeds would run to {last}, but those above {LAST_TRAINING_SEED} are kept for '
            'evaluation; ask for fewer episodes or a lower --first-seed.'
        )
    jobs = []
    for i in range(episodes):
        for task in tasks:
            seed = first + len(order) * i + order.index(task)
            folder = episode_folder(out, task, collection, seed)
            if not (folder / 'episode.json').exists():
                jobs.append(Job(task, seed, folder))
    return jobs


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='sqil-collect', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--out', type=Path, required=True, help='root of the episode tree')
    parser.add_argument('--episodes', type=int, default=800, help='episodes per task')
    parser.add_argument('--tasks', nargs='+', default=[task.name for task in TASKS])
    parser.add_argument('--first-seed', type=int, default=0)
    parser.add_argument('--collection', default='expert', help='name of this collection')
    parser.add_argument('--workers', type=int, default=2, help='processes')
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
    kept = steps = 0
    context = multiprocessing.get_context('spawn')
    with context.Pool(args.workers, initializer=_start_worker) as pool:
        bar = tqdm(pool.imap_unordered(_run, jobs), total=len(jobs), unit='episode')
        for _, success, length in bar:
            kept += success
            steps += length if success else 0
            bar.set_postfix(kept=kept, steps=steps)
    print(f'kept {kept} of {len(jobs)} episodes, {steps} steps, under {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
