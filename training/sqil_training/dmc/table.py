# SPDX-License-Identifier: Apache-2.0
"""Write the tables of docs/dmc.md from docs/results/dmc_*.json.

examples:
  python -m sqil_training.dmc.table            rewrite the document
  python -m sqil_training.dmc.table --check    exit 1 if it is out of date
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from sqil_ros.share import share_directory
from sqil_training.results_table import filled

BAR = 0.94
"""What SQIL must keep of the full-precision return (issue: the paper's mean is 96 %)."""


def table(result: dict[str, Any]) -> str:
    """A row for every task, a column for every method."""
    tasks = result['tasks']
    methods = list(next(iter(tasks.values()))['methods'])
    rows = [
        f'| task | expert | {" | ".join(methods)} | sqil / fp |',
        f'|---|---|{"---|" * len(methods)}---|',
    ]
    for name, task in tasks.items():
        cells = [_mean(task['methods'][method]) for method in methods]
        expert = f'{task["expert"]["return_per_1000_steps"]:.0f}'
        rows.append(f'| {name} | {expert} | {" | ".join(cells)} | {_share(task)} |')
    return '\n'.join(rows)


def text(results: Path) -> str:
    """What stands between the document's markers: every result file with its table."""
    parts = []
    for path in sorted(results.glob('dmc_*.json')):
        result = json.loads(path.read_text(encoding='utf-8'))
        settings = result['settings']
        parts.append(
            f'### [{path.stem}](results/{path.name})\n\n'
            f'Inner layers {settings["bits"]} bits, first and last layer {settings["edge_bits"]}; '
            f'{settings["seeds"]} training seeds x {settings["episodes"]} initial states; mean '
            'return of 1000 steps [95 % interval].\n\n'
            f'{table(result)}'
        )
    return '\n\n'.join(parts) or 'Nothing has been evaluated yet.'


def _mean(method: dict[str, Any]) -> str:
    low, high = method['interval']
    return f'{method["mean"]:.0f} [{low:.0f}, {high:.0f}]'


def _share(task: dict[str, Any]) -> str:
    method = task['methods']['sqil']
    ends = method['share_interval']
    bounds = 'no interval' if ends is None else f'{ends[0]:.1%}, {ends[1]:.1%}'
    word = '' if method['share'] >= BAR else ', **below the bar**'
    return f'{method["share"]:.1%} [{bounds}]{word}'


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m sqil_training.dmc.table',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--check', action='store_true')
    arguments = parser.parse_args(argv)
    docs = share_directory() / 'docs'
    document = docs / 'dmc.md'
    old = document.read_text(encoding='utf-8')
    new = filled(old, text(docs / 'results'))
    if arguments.check:
        return int(new != old)
    document.write_text(new, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
