# SPDX-License-Identifier: Apache-2.0
"""Do two result files show the same success? For the ROS path against the in-process path.

Examples:
  python -m sqil_ros.demo --episodes 10 --json docs/results/ros_path.json
  sqil-eval --profile int4_rtn --episodes 10 --json out/in_process.json
  python -m sqil_training.compare_paths docs/results/ros_path.json out/in_process.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqil_ros.errors import SqilError
from sqil_ros.proportions import newcombe_interval
from sqil_ros.provenance import provenance

Key = tuple[str, int]
_ALL = 'all'


class NotComparable(SqilError):
    """Two result files do not speak of the same episodes."""


def successes(path: Path) -> tuple[str, dict[Key, bool]]:
    """Profile, and success by (task, seed), of a result file of the demo or of sqil-eval.

    Raises:
        NotComparable: the file is missing, or not such a result.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        episodes = content['episodes']
        found = {(str(e['task']), int(e['seed'])): bool(e['success']) for e in episodes}
        return str(content['profile']), found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotComparable(
            f'{path} is no result of the demo or of sqil-eval ({error!r}); make one with --json.'
        ) from error


def compare(a: Mapping[Key, bool], b: Mapping[Key, bool]) -> dict[str, dict[str, Any]]:
    """Difference of success a - b per task and over all, with Newcombe's 95 % interval.

    ``equal`` is true where the interval contains 0. Episodes from the same seed start alike but
    drift apart with the timing, so that the two runs count as independent samples; ``agreeing``
    says how many of them ended alike all the same.

    Raises:
        NotComparable: other tasks or seeds.
    """
    if a.keys() != b.keys() or not a:
        only = sorted(a.keys() ^ b.keys())
        raise NotComparable(
            f'{len(only)} episodes are in one file only, such as {only[:3]}; run both paths with '
            'the same tasks and seeds.'
        )
    rows = {}
    for name in [*dict.fromkeys(task for task, _ in a), _ALL]:
        keys = [key for key in a if name in (key[0], _ALL)]
        won_a, won_b, trials = sum(a[k] for k in keys), sum(b[k] for k in keys), len(keys)
        low, high = newcombe_interval(won_a, trials, won_b, trials)
        rows[name] = {
            'a': won_a,
            'b': won_b,
            'episodes': trials,
            'agreeing': sum(a[k] == b[k] for k in keys),
            'difference': (won_a - won_b) / trials,
            'interval': [low, high],
            'equal': low <= 0.0 <= high,
        }
    return rows


def main(argv: list[str] | None = None) -> int:
    """Compare; the status is 1 when the paths differ beyond chance or cannot be compared."""
    parser = argparse.ArgumentParser(
        prog='python -m sqil_training.compare_paths',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('a', type=Path, help='result file, e.g. of python -m sqil_ros.demo')
    parser.add_argument('b', type=Path, help='result file, e.g. of sqil-eval')
    parser.add_argument('--json', type=Path, help='file for the comparison')
    args = parser.parse_args(argv)
    try:
        (profile_a, a), (profile_b, b) = successes(args.a), successes(args.b)
        if profile_a != profile_b:
            raise NotComparable(
                f'{args.a} ran at {profile_a} and {args.b} at {profile_b}; compare one profile.'
            )
        rows = compare(a, b)
    except NotComparable as error:
        print(f'compare_paths: {error}', file=sys.stderr)
        return 1
    for name, row in rows.items():
        low, high = row['interval']
        print(
            f'{name:14s} {row["a"]:3d} and {row["b"]:3d} of {row["episodes"]:3d}: '
            f'{row["difference"]:+.0%} [{low:+.0%}, {high:+.0%}] '
            f'{"equal" if row["equal"] else "different"}'
        )
    if args.json:
        content = {
            'profile': profile_a,
            'a': args.a.name,
            'b': args.b.name,
            'equal': rows[_ALL]['equal'],
            'rows': rows,
            'provenance': provenance(),
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    return 0 if rows[_ALL]['equal'] else 1


if __name__ == '__main__':
    sys.exit(main())
