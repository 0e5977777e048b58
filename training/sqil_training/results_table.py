# SPDX-License-Identifier: Apache-2.0
"""Write the README's results from the files in docs/results.

examples:
  python -m sqil_training.results_table            rewrite the README
  python -m sqil_training.results_table --check    exit 1 if it is out of date
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from sqil_ros.share import share_directory
from sqil_ros.sim.tasks import TASKS
from sqil_training.training_seeds import method_and_seed

METHODS = {
    'fp': 'full precision',
    'rtn': 'RTN',
    'awq': 'AWQ',
    'qat_merged': 'QAT',
    'qbc_merged': 'QBC',
    'sqil_merged': 'SQIL',
    'sqil_merged_onpolicy': 'SQIL, on-policy',
}
"""Columns of the comparisons: what a profile is called behind its width, and here."""
_PROFILE = re.compile(r'(?:int\d_)?(.+?)(?:_long|_a4static)?')

BEGIN, END = '<!-- results: begin -->', '<!-- results: end -->'


def success_rows(results: Path) -> list[str]:
    """A table row for every evaluation (a file with ``tasks`` and ``interval``)."""
    rows = []
    for path in sorted(results.glob('*.json')):
        content = json.loads(path.read_text(encoding='utf-8'))
        if not {'tasks', 'interval', 'success'} <= set(content):
            continue
        cells = [_share(content['tasks'].get(task.name)) for task in TASKS]
        low, high = content['interval']
        rows.append(
            f'| [{path.stem}](docs/results/{path.name}) | {" | ".join(cells)} '
            f'| {content["success"]:.1%} [{low:.1%}, {high:.1%}] |'
        )
    return rows


def comparison_rows(results: Path) -> list[str]:
    """A table row for every comparison of :data:`METHODS` (a file of ``sqil-eval --compare``).

    A method that was trained several times stands there with its mean.
    """
    rows = []
    for path in sorted(results.glob('*.json'), reverse=True):
        content = json.loads(path.read_text(encoding='utf-8'))
        found: dict[str, list[float]] = defaultdict(list)
        for one in content['profiles'] if 'tests' in content else ():
            found[_method(one['profile'])].append(one['success'])
        if not {'sqil_merged', 'fp'} <= set(found):
            continue
        cells = [
            f'{statistics.mean(found[name]):.1%}' if name in found else '–' for name in METHODS
        ]
        episodes = len(content['profiles'][0]['episodes'])
        rows.append(
            f'| [{path.stem}](docs/results/{path.stem}.md) | {episodes} | {" | ".join(cells)} |'
        )
    return rows


def results_text(results: Path) -> str:
    """What stands between the markers: tables, or a word that there is nothing yet."""
    tables = [_comparisons(comparison_rows(results)), _evaluations(success_rows(results))]
    return '\n\n'.join(filter(None, tables)) or 'Nothing has been evaluated yet.'


def _comparisons(rows: list[str]) -> str:
    if not rows:
        return ''
    head = [
        'Success of low-bit policies, all of a row from the same initial states; behind every',
        'name are intervals, tests and the commands. `_long` is three times the updates, `_seeds`',
        'the mean of several training seeds, w4a4 has inputs of 4 bits as well.',
        '',
        f'| comparison | episodes | {" | ".join(METHODS.values())} |',
        f'|---|{"---|" * (len(METHODS) + 1)}',
    ]
    return '\n'.join(head + rows)


def _evaluations(rows: list[str]) -> str:
    if not rows:
        return ''
    names = ' | '.join(task.name for task in TASKS)
    head = [
        'Successes in the toy sink on seeds never trained on, with Wilson 95 % intervals; each',
        'file holds the command that made it.',
        '',
        f'| evaluation | {names} | all |',
        f'|---|{"---|" * (len(TASKS) + 1)}',
    ]
    return '\n'.join(head + rows)


def filled(readme: str, text: str) -> str:
    """``readme`` with ``text`` between its markers."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f'{before}{BEGIN}\n{text}\n{END}{after}'


def _method(profile: str) -> str:
    method, _ = method_and_seed(profile)
    found = _PROFILE.fullmatch(method)
    return found[1] if found else method


def _share(entry: dict[str, Any] | None) -> str:
    return '–' if entry is None else f'{entry["successes"]}/{entry["episodes"]}'


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--check', action='store_true')
    args = parser.parse_args(argv)
    readme = share_directory() / 'README.md'
    old = readme.read_text(encoding='utf-8')
    new = filled(old, results_text(share_directory() / 'docs' / 'results'))
    if args.check:
        return int(new != old)
    readme.write_text(new, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
