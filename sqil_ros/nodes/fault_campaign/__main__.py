# SPDX-License-Identifier: Apache-2.0
"""Command line of the fault campaign: a table on the screen, JSON in a file."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sqil_ros.errors import SqilError
from sqil_ros.nodes.fault_campaign.cases import CASES, Case, Outcome, run_case
from sqil_ros.nodes.fault_campaign.rig import Rig
from sqil_ros.provenance import provenance

_BAR_UNDER_LOAD_S = 0.5
_ROW = '{:18} {:18} {:>14} {:>7} {:>12} {:>8} {:>10}  {}'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; 0 if every fault ended as it must."""
    args = _parser().parse_args(arguments)
    chosen = [case for case in CASES if not args.only or case.name in args.only]
    phases = np.random.default_rng(args.seed)
    heading = ('fault', 'named', 'at rest [ms]', 'bar', 'moved again', 'refused', 'recovered', '')
    print(_ROW.format(*heading))
    results = []
    with _load(args.load):
        for number, case in enumerate(chosen):
            outcomes = _run(case, args, number, phases)
            results.append(_result(case, outcomes, _bar(case, args.load)))
            print(_line(results[-1]), flush=True)
    passed = all(result['passed'] for result in results)
    if args.json is not None:
        report = {
            'passed': passed,
            'load_processes': args.load,
            'seed': args.seed,
            'faults': results,
            'provenance': provenance(),
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=2) + '\n')
    print('every fault ended at rest, by name' if passed else 'FAILED')
    return 0 if passed else 1


def _run(
    case: Case, args: argparse.Namespace, number: int, phases: np.random.Generator
) -> list[Outcome]:
    repeats = args.repeat if case.bar_s is not None else 1
    domain = args.domain + number if args.domain >= 0 else 1 + (os.getpid() + number) % 100
    try:
        with Rig(args.host, domain, case.parameters) as rig:
            return [run_case(rig, case, phases.uniform(0.0, 0.2)) for _ in range(repeats)]
    except SqilError as error:
        print(f'{case.name}: {error}', file=sys.stderr)
        return []


def _bar(case: Case, load: int) -> float | None:
    return _BAR_UNDER_LOAD_S if case.bar_s is not None and load else case.bar_s


def _result(case: Case, outcomes: list[Outcome], bar_s: float | None) -> dict[str, Any]:
    rests = [outcome.rest_ms for outcome in outcomes]
    return {
        'fault': case.name,
        'named': sorted({outcome.fault for outcome in outcomes}),
        'time_to_rest_ms': rests,
        'bar_ms': None if bar_s is None else round(1e3 * bar_s),
        'moved_again': any(outcome.moved_again for outcome in outcomes),
        'arming_refused': all(outcome.refused for outcome in outcomes),
        'recovered_after_reset': all(outcome.recovered for outcome in outcomes),
        'top_speed_m_s': max((outcome.top_speed for outcome in outcomes), default=None),
        'passed': bool(outcomes) and all(outcome.passes(case, bar_s) for outcome in outcomes),
    }


def _line(result: dict[str, Any]) -> str:
    rests = [rest for rest in result['time_to_rest_ms'] if rest is not None]
    return _ROW.format(
        result['fault'],
        '/'.join(result['named']) or '-',
        f'{max(rests):.0f}' if rests else 'never',
        result['bar_ms'] or '-',
        'yes' if result['moved_again'] else 'no',
        'yes' if result['arming_refused'] else 'NO',
        'yes' if result['recovered_after_reset'] else 'NO',
        'ok' if result['passed'] else 'FAILED',
    )


@contextmanager
def _load(processes: int) -> Iterator[None]:
    """Keep the processor busy with so many loops, each a session: Linux shares among those."""
    loops = [
        subprocess.Popen([sys.executable, '-c', 'while True: pass'], start_new_session=True)
        for _ in range(processes)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m sqil_ros.nodes.fault_campaign',
        description='Bring about every fault against emulator, robot node and a stub policy.',
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the results there')
    parser.add_argument(
        '--only', nargs='+', choices=[case.name for case in CASES], help='run only these'
    )
    parser.add_argument(
        '--repeat', type=int, default=5, help='runs of the faults that have a bar (default 5)'
    )
    parser.add_argument(
        '--load', type=int, default=0, metavar='N', help='busy loops beside it (default 0)'
    )
    parser.add_argument('--seed', type=int, default=0, help='decides when in a step a fault comes')
    parser.add_argument('--host', default='127.0.0.77', help='loopback address of the emulator')
    parser.add_argument('--domain', type=int, default=-1, help='first ROS domain (default: any)')
    return parser


if __name__ == '__main__':
    sys.exit(main())
