# SPDX-License-Identifier: Apache-2.0
"""The command line of the demo: ``make demo``, ``sqil-demo`` or ``python -m sqil_ros.demo``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sqil_ros.contract import Contract
from sqil_ros.demo.console import Console
from sqil_ros.demo.folder import OutputFolder
from sqil_ros.demo.outcome import Tally, result
from sqil_ros.demo.plan import FIRST_SEED, plan
from sqil_ros.demo.report import report
from sqil_ros.demo.table import table
from sqil_ros.errors import SqilError
from sqil_ros.graph import Options, environment
from sqil_ros.policy.loader import check_checkpoint, check_profile, checkpoint_directory
from sqil_ros.provenance import provenance
from sqil_ros.sim.tasks import MAX_STEPS, TASKS
from sqil_ros.sim.variation import VARIATIONS
from sqil_ros.supervisor import end_on_sigterm

_EXAMPLES = """\
A simulated UR5e behind real UR protocols, its cameras, the policy and the robot node start as
processes of one ROS 2 graph; the policy then works in real time. `make view` shows it.

examples:
  python -m sqil_ros.demo
  python -m sqil_ros.demo --profile fp --tasks lift_eggplant --episodes 3
  python -m sqil_ros.demo --variation lighting --no-record
  python -m sqil_ros.demo --episodes 10 --json docs/results/ros_path.json
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog='sqil-demo',
        description=f'Four kitchen tasks over ROS 2, in real time.\n\n{_EXAMPLES}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [task.name for task in TASKS]
    made.add_argument(
        '--profile', default='int4_rtn', help='precision: fp, int8_rtn, int4_rtn ... (%(default)s)'
    )
    made.add_argument(
        '--checkpoint', default='', help='directory of the trained policy; that of the package'
    )
    made.add_argument(
        '--tasks', nargs='+', choices=names, default=names, metavar='TASK', help=', '.join(names)
    )
    made.add_argument('--episodes', type=int, default=5, help='episodes per task (%(default)s)')
    made.add_argument(
        '--first-seed', type=int, default=FIRST_SEED, help='seeds count up from here (%(default)s)'
    )
    made.add_argument(
        '--max-steps', type=int, default=MAX_STEPS, help='actions per episode (%(default)s)'
    )
    made.add_argument(
        '--variation', choices=VARIATIONS, default='nominal', help='of the scene (%(default)s)'
    )
    made.add_argument(
        '--out', type=Path, default=Path('out/demo'), help='folder to fill (%(default)s)'
    )
    made.add_argument('--json', type=Path, help='write the result to this file, too')
    made.add_argument('--no-record', action='store_true', help='record no bag')
    made.add_argument('--robot-ip', default='', help='address of the simulated robot (127.0.0.2)')
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    arguments = parser().parse_args(argv)
    end_on_sigterm()
    console = Console()
    try:
        return _demo(arguments, console)
    except KeyboardInterrupt:
        console.say('\nStopped; nothing of it is running any more.')
        return 130
    except SqilError as error:
        console.say()
        print(f'sqil-demo: {error}', file=sys.stderr)
        return 1


def _demo(arguments: argparse.Namespace, console: Console) -> int:
    contract = Contract.load()
    episodes = plan(arguments.tasks, arguments.episodes, arguments.first_seed)
    out = OutputFolder(arguments.out)
    options = Options.parse(
        {
            'profile': arguments.profile,
            'checkpoint': arguments.checkpoint,
            'robot_ip': arguments.robot_ip,
            'record': '' if arguments.no_record else str(out.bag),
        }
    )
    directory = checkpoint_directory(options.checkpoint)
    if directory is not None:
        check_checkpoint(directory, contract)
    check_profile(options.checkpoint, options.profile, contract)
    out.prepare()
    os.environ.update(environment())
    from sqil_ros.demo.performance import perform  # ROS only now: --help answers at once

    performance = perform(
        episodes, options, contract, console, out.log, arguments.variation, arguments.max_steps
    )
    outcomes = performance.outcomes
    content = result(outcomes, options.profile, performance.ticks, performance.missed_ticks)
    content['variation'] = arguments.variation
    content['provenance'] = provenance()
    text = json.dumps(content, indent=1) + '\n'
    for path in filter(None, (out.result, arguments.json)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    out.report.write_text(report(outcomes, content), encoding='utf-8')
    console.say(f'\n{table(outcomes)}\n')
    missed = performance.missed_ticks
    console.say(f'{missed} of {performance.ticks + missed} control ticks missed')
    written = [out.report, out.result, *([] if arguments.no_record else [out.bag])]
    console.say(f'written: {", ".join(map(str, written))}')
    return 0 if Tally.of(outcomes).episodes == len(episodes) else 1


if __name__ == '__main__':
    sys.exit(main())
