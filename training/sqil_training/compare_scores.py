# SPDX-License-Identifier: Apache-2.0
"""Do two ways to score call the same frames important? For ablations that need no training.

examples:
  sqil-score --data data/held --out out/together.parquet
  sqil-score --data data/held --out out/each.parquet --cameras each
  python -m sqil_training.compare_scores out/together.parquet out/each.parquet --json FILE
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sqil_ros.errors import ScoreError, SqilError
from sqil_ros.provenance import provenance
from sqil_ros.saliency import threshold
from sqil_ros.types import Array
from sqil_training.score_file import read_scores
from sqil_training.scores import Scores
from sqil_training.whole_file import whole_file


def ranks(values: Array) -> Array:
    """(n,) ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - 0.5 * (counts + 1))[inverse]


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's coefficient."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def compare(a: Scores, b: Scores) -> dict[str, Any]:
    """Rank correlation over all frames, and how many heavy frames of ``a`` are heavy in ``b``.

    Raises:
        ScoreError: they are of different data.
    """
    if a.dataset != b.dataset:
        raise ScoreError(
            f'The scores are of data sets {a.dataset[:12]} and {b.dataset[:12]}; score the same '
            'data in both ways.'
        )
    heavy = a.values > threshold(a.values, a.top)
    also = b.values > threshold(b.values, a.top)
    return {
        'episodes': len(a.episodes),
        'frames': len(a.values),
        'rank_correlation': round(rank_correlation(a.values, b.values), 4),
        'top': a.top,
        'heavy': int(heavy.sum()),
        'heavy_in_both': int((heavy & also).sum()),
        'a': asdict(a.key),
        'b': asdict(b.key),
        'dataset': a.dataset,
    }


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m sqil_training.compare_scores',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('a', type=Path, help='file of sqil-score')
    parser.add_argument('b', type=Path, help='file of sqil-score')
    parser.add_argument('--json', type=Path, help='file for the comparison')
    args = parser.parse_args(argv)
    try:
        found = compare(read_scores(args.a), read_scores(args.b))
    except SqilError as error:
        print(f'compare_scores: {error}', file=sys.stderr)
        return 1
    print(
        f'{found["frames"]} frames: rank correlation {found["rank_correlation"]}, '
        f'{found["heavy_in_both"]} of {found["heavy"]} heavy frames in both'
    )
    if args.json:
        content = found | {'provenance': provenance()}
        with whole_file(args.json) as file:
            file.write((json.dumps(content, indent=1) + '\n').encode())
    return 0


if __name__ == '__main__':
    sys.exit(main())
