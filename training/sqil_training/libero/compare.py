# SPDX-License-Identifier: Apache-2.0
"""Profiles judged by LIBERO from the same states; the file is one of ``sqil-eval --compare``."""

from __future__ import annotations

import argparse

from sqil_ros.contract import Contract
from sqil_training.comparison_file import ComparisonFile
from sqil_training.evaluation import Condition
from sqil_training.libero.judge import evaluate
from sqil_training.libero.tasks import CONTRACT, SUITES, policy_for


def compare(args: argparse.Namespace) -> int:
    """Carry out ``judge`` of the command line; returns the exit status.

    Raises:
        SqilError: a profile, a task or an initial state is unknown, or the file is of others.
    """
    seeds = range(args.first, args.first + args.episodes)
    names = SUITES[args.suite].names(args.tasks)
    episodes = [(name, seed) for seed in seeds for name in names]
    checkpoint = str(args.checkpoint or policy_for(args.suite))
    shared = Condition('checkpoint', checkpoint, '', args.starts, args.instruction, args.images)
    file = ComparisonFile(args.json, shared, episodes, Contract.load(CONTRACT).period_s)
    content = file.complete(
        args.profiles.split(','),
        lambda condition, journal: evaluate(condition, episodes, journal, args.workers),
    )
    for row in content['profiles']:
        for task, found in row['tasks'].items():
            print(f'{row["profile"]:16s} {task:20s} {found["successes"]}/{found["episodes"]}')
        low, high = row['interval']
        print(f'{row["profile"]:16s} {"all":20s} {row["success"]:.1%} [{low:.1%}, {high:.1%}]')
    print(f'written to {args.json}')
    return 0
