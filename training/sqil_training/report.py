# SPDX-License-Identifier: Apache-2.0
"""sqil-report: pages with tables and plots of the comparisons that sqil-eval wrote.

examples:
  sqil-report                                  all comparisons in docs/results
  sqil-report out/mine.json                    out/mine.md and out/mine.svg
  sqil-report --check                          exit 1 if a page is out of date
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqil_ros.errors import SqilError
from sqil_ros.share import share_directory
from sqil_training.comparison_chart import comparison_chart
from sqil_training.comparison_text import comparison_text
from sqil_training.whole_file import whole_file


def pages(path: Path) -> dict[Path, str]:
    """The page and the picture of the comparison at ``path``, by the file they belong in.

    Raises:
        SqilError: it is no comparison.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        chart, page = path.with_suffix('.svg'), path.with_suffix('.md')
        return {
            chart: comparison_chart(content['profiles']),
            page: comparison_text(content, path.stem, chart.name),
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SqilError(
            f'{path} is no comparison ({error!r}); make one with sqil-eval --compare.'
        ) from error


def comparisons(folder: Path) -> Iterator[Path]:
    """The files of ``folder`` that hold comparisons."""
    for path in sorted(folder.rglob('*.json')):
        content = json.loads(path.read_text(encoding='utf-8'))
        if isinstance(content, dict) and {'condition', 'tests', 'profiles'} <= content.keys():
            yield path


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='sqil-report', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('files', type=Path, nargs='*', help='of sqil-eval --compare')
    parser.add_argument('--check', action='store_true', help='write nothing, compare')
    args = parser.parse_args(argv)
    stale = 0
    try:
        for path in args.files or comparisons(share_directory() / 'docs' / 'results'):
            for target, text in pages(path).items():
                if target.exists() and target.read_text(encoding='utf-8') == text:
                    continue
                stale += 1
                print(f'{target} {"is out of date" if args.check else "written"}')
                if not args.check:
                    with whole_file(target) as file:
                        file.write(text.encode())
    except SqilError as error:
        print(f'sqil-report: {error}', file=sys.stderr)
        return 1
    return int(args.check and stale > 0)


if __name__ == '__main__':
    sys.exit(main())
