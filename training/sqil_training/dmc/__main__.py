# SPDX-License-Identifier: Apache-2.0
"""DeepMind Control at W4A4: from demonstrations to returns, by rounding, QAT, QBC and SQIL.

examples:
  pip install '.[dmc]'
  python -m sqil_training.dmc --tasks cartpole_balance --out runs/dmc --json out/dmc.json
  python -m sqil_training.dmc --out runs/dmc --json docs/results/dmc_w4a4.json
  python -m sqil_training.dmc --out runs/dmc --edge-bits 4 --json docs/results/dmc_w4a4_edges4.json
  python -m sqil_training.dmc.table      the tables of docs/dmc.md from docs/results

Whatever was finished lies in --out and is not done again: the same command goes on after Ctrl-C,
and tasks may be done by processes of their own. docs/dmc.md explains the methods.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

import torch

from sqil_ros.errors import SqilError
from sqil_ros.provenance import provenance
from sqil_training.dmc.pipeline import Experiment
from sqil_training.dmc.results import task_result
from sqil_training.dmc.settings import Settings
from sqil_training.dmc.tasks import TASKS, task_named
from sqil_training.whole_file import whole_file


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    # Nothing is drawn; without this dm_control would look for a screen.
    os.environ.setdefault('MUJOCO_GL', 'disabled')
    torch.set_num_threads(arguments.threads)
    try:
        names = [entry.name for entry in dataclasses.fields(Settings)]
        settings = Settings(**{name: getattr(arguments, name) for name in names})
        tasks = [task_named(name) for name in arguments.tasks]
        found = {}
        for task in tasks:
            experiment = Experiment(task, settings, arguments.out / task.name, print)
            found[task.name] = task_result(experiment)
            for method, values in found[task.name]['methods'].items():
                print(f'{task.name} {method}: {values["mean"]:.0f}, {values["share"]:.1%} of fp')
        if arguments.json:
            content = {
                'tasks': found,
                'settings': dataclasses.asdict(settings),
                'provenance': provenance(),
            }
            with whole_file(arguments.json) as file:
                file.write((json.dumps(content, indent=1) + '\n').encode())
    except (SqilError, OSError) as error:
        print(f'sqil_training.dmc: {type(error).__name__}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('sqil_training.dmc: stopped; the same command goes on', file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m sqil_training.dmc',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = ', '.join(TASKS)
    parser.add_argument('--tasks', nargs='+', default=list(TASKS), metavar='TASK', help=known)
    parser.add_argument('--out', type=Path, required=True, help='directory of what is finished')
    parser.add_argument('--json', type=Path, help='file for the result')
    parser.add_argument('--threads', type=int, default=1, help='torch threads')
    group = parser.add_argument_group('settings')
    for entry in dataclasses.fields(Settings):
        group.add_argument(
            f'--{entry.name.replace("_", "-")}',
            type=type(entry.default),
            default=entry.default,
            help=f'({entry.default})',
        )
    return parser


if __name__ == '__main__':
    sys.exit(main())
