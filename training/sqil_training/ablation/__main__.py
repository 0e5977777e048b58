# SPDX-License-Identifier: Apache-2.0
r"""python -m sqil_training.ablation: what every choice of SQIL is worth, one table a choice.

examples:
  python -m sqil_training.ablation --data data/expert --work out/ablation --dry-run
  python -m sqil_training.ablation --data data/expert --work out/ablation \
      --profile int2_rtn --json docs/results/ablation.json
  python -m sqil_training.ablation ... --knobs beta p          only these tables

Every cell differs from the base in one choice: it is scored (sqil-score), trained (sqil-train),
made a profile (sqil-export) and evaluated (sqil-eval) with the commands a user types. The
base stands in every table. Cells are trained side by side; an interrupted run goes on where it
stopped. sqil-report makes the page.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sqil_ros.errors import SqilError
from sqil_ros.share import share_directory
from sqil_training.ablation.knobs import KNOBS
from sqil_training.ablation.run import evaluate_cells, train_cells
from sqil_training.ablation.study import Study
from sqil_training.precision import BFLOAT16, FLOAT32


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _parser().parse_args(argv)
    study = Study(
        tuple(args.data), args.work, args.checkpoint, args.profile, args.demonstrations,
        args.steps, args.preset, args.precision, args.workers,
        tuple(knob for knob in KNOBS if knob.name in args.knobs),
    )  # fmt: skip
    try:
        if args.dry_run:
            for cell in study.cells():
                state = 'done' if study.exported(cell) else 'to be trained'
                print(f'{study.profile_of(cell):40s} {state}')
            return 0
        train_cells(study)
        evaluate_cells(study, args.first_seed, args.episodes, args.json)
        print(f'written to {args.json}')
    except (SqilError, OSError) as error:
        print(f'ablation: {error}', file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m sqil_training.ablation',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    share, names = share_directory(), [knob.name for knob in KNOBS]
    add = parser.add_argument
    add('--data', type=Path, nargs='+', required=True, help='episode trees')
    add('--work', type=Path, required=True, help='scores, runs and profiles of the cells')
    add('--json', type=Path, default=share / 'docs' / 'results' / 'ablation.json')
    add('--checkpoint', type=Path, default=share / 'models' / 'toy_sink_openvla')
    add('--profile', default='int3_rtn', help='that students begin with')
    add('--demonstrations', type=int, default=100, help='episodes of the data')
    add('--steps', type=int, default=300, help='updates of every cell')
    add('--preset', type=Path, default=share / 'training' / 'configs' / 'toy_sink.yaml')
    add('--precision', choices=(FLOAT32, BFLOAT16), default=FLOAT32, help="of students' products")
    add('--first-seed', type=int, default=30000)
    add('--episodes', type=int, default=50, help='evaluated per task')
    add('--workers', type=int, default=2, help='processes')
    add('--knobs', nargs='+', choices=names, default=names, help='tables')
    add('--dry-run', action='store_true', help='say which cells are missing')
    return parser


if __name__ == '__main__':
    sys.exit(main())
