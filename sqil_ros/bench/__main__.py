# SPDX-License-Identifier: Apache-2.0
"""sqil-bench: low-bit products against 16 bits, peers, and what the memory itself can give."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sqil_ros.bench.compare_products import GEMM, GEMV, compare_products, product_line
from sqil_ros.bench.compare_steps import compare_steps, step_line
from sqil_ros.bench.products import COMPILED, CONTESTANTS, EAGER
from sqil_ros.bench.shapes import SHAPES
from sqil_ros.bench.steps import STAGES, STEP
from sqil_ros.bench.table_stage import prediction_line, tabulate
from sqil_ros.bench.timeline import timeline
from sqil_ros.engine.library import level
from sqil_ros.errors import ParameterError, SqilError
from sqil_ros.provenance import provenance

TABLE, ALL = 'table', 'all'
STEPS = (EAGER, COMPILED, *(n for n in CONTESTANTS if n.startswith(('engine W', 'engine bf16'))))
_EXAMPLES = """examples:
  sqil-bench --stage gemv --model openvla-7b --threads 2 --json docs/results/engine/gemv.json
  sqil-bench --stage step --model tiny --threads 1 --json docs/results/engine/tiny_step.json
  sqil-bench --stage step --model openvla-7b --rounds 5 --together \
      --candidates 'engine bf16' 'engine W4A8'
  sqil-bench --stage step --model openvla-7b-oft --rounds 3 --candidates 'engine W4A8'
  sqil-bench --stage gemm --model tiny --back-ends engine torch --profiles W4A8 W4A16 bf16
  sqil-bench --stage table --model tiny --threads 1 --table config/devices/lab_pc.yaml

gemv is one row of activations, as in decoding; gemm as many as a prefill has. Every candidate has
copies of its weights beyond all caches in gemv. step is a whole control step of a network with
random weights. Ratios are medians over rounds in which all take turns; networks of 7 billion
weights run one after the other, unless --together. table writes what every product of a step
takes at every width, and tells how well the sum predicts a step. docs/benchmarks.md tells how to
read the figures.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, write a file."""
    args = _parser().parse_args(argv)
    args.candidates = chosen(args.candidates, args.profiles, args.back_ends)
    rows: list[dict[str, Any]] = []
    try:
        for found, line in _measured(args):
            print(*map(line, found), sep='\n', flush=True)
            rows += found
    except SqilError as error:
        print(f'sqil-bench: {type(error).__name__}: {error}', file=sys.stderr)
        return 1
    if args.json:
        _write(args.json, args.threads, rows)
    return 0


def chosen(names: Sequence[str], profiles: Sequence[str], back_ends: Sequence[str]) -> list[str]:
    """Of candidates such as ``engine W4A8`` those with one of the profiles and of the back-ends.

    Args:
        names: of candidates.
        profiles: words such as ``W4A8`` or ``bf16``; none for all.
        back_ends: words such as ``engine`` or ``torch``; none for all.
    """
    return [
        name
        for name in names
        if all(not asked or _words([name]) & set(asked) for asked in (profiles, back_ends))
    ]


def _some(names: list[str], stage: str, known: Iterable[str]) -> list[str]:
    """The candidates of a stage.

    Raises:
        ParameterError: there is none, and a file would be replaced by nothing.
    """
    if not names:
        raise ParameterError(
            f'No candidate of the stage {stage} is left; choose other --profiles, --back-ends or '
            f'--candidates among {", ".join(known)}.'
        )
    return names


def _words(names: Sequence[str]) -> set[str]:
    return {word for name in names for word in name.replace(',', '').split()}


def _measured(args: argparse.Namespace) -> Iterator[tuple[list[dict[str, Any]], Any]]:
    """Rows of the result, and what makes a line of one."""
    stages = (GEMV, GEMM, STEP) if ALL in args.stage else args.stage
    for stage in stages:
        if stage == STEP:
            names = _some([name for name in args.candidates if name in STEPS], stage, STEPS)
            rows = compare_steps(args.model, names, args.threads, args.rounds, args.together)
            yield list(rows), step_line
        elif stage == TABLE:
            found = tabulate(args.model, args.table, args.threads, args.rounds)
            print(f'written to {args.table}')
            yield found, prediction_line
        else:
            products = [name for name in args.candidates if name in CONTESTANTS]
            products = _some(products, stage, CONTESTANTS)
            for shape in SHAPES[args.model]:
                what = stage, args.model, shape, products, args.threads, args.rounds
                yield list(compare_products(*what)), product_line


def _write(path: Path, threads: int, rows: list[dict[str, Any]]) -> None:
    rates = [row['read_GBps'] for row in rows if 'read_GBps' in row]
    content = {
        'device': provenance()['machine'],
        'level': level(),
        'threads': threads,
        'read_GBps': float(np.median(rates)) if rates else None,
        'rows': rows,
        'provenance': provenance(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    print(f'written to {path}')
    if steps := [row for row in rows if row['stage'] in STAGES]:
        path.with_suffix('.svg').write_text(timeline(steps), encoding='utf-8')
        print(f'written to {path.with_suffix(".svg")}')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='sqil-bench',
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--stage', choices=(GEMV, GEMM, STEP, TABLE, ALL), nargs='+', default=[ALL])
    add('--model', choices=sorted(SHAPES), default='openvla-7b')
    names = list(dict.fromkeys([*CONTESTANTS, *STEPS]))
    add('--candidates', choices=names, nargs='+', default=names, metavar='NAME',
        help=f'of {", ".join(names)}')  # fmt: skip
    words = sorted(_words(names))
    add('--profiles', choices=words, nargs='+', default=[], metavar='WORD',
        help='of the candidates those with one of these words: W4A8 bf16 ...')  # fmt: skip
    add('--back-ends', choices=words, nargs='+', default=[], metavar='WORD',
        help='and with one of these: engine torch prepacked onnxruntime ...')  # fmt: skip
    add('--threads', type=int, default=2)
    add('--rounds', type=int, default=30)
    add(
        '--together',
        action='store_true',
        help='steps of 7 billion weights take turns, too; memory must hold all candidates',
    )
    add('--table', type=Path, default=Path('device_table.yaml'), help='of the stage table')
    add('--json', type=Path, help='where to write the result')
    return parser


if __name__ == '__main__':
    sys.exit(main())
