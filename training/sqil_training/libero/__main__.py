# SPDX-License-Identifier: Apache-2.0
"""LIBERO as a judge; `make judge-libero ARGS='...'` runs this in LIBERO's own environment.

examples:
  judge --profiles fp,int3_sqil_merged --episodes 5 --json out/l.json      the policy of models/
  judge --suite libero_spatial --profiles fp,int3_rtn --json out/s.json
  judge --profiles expert --starts placements --first 9000 --episodes 10 --json out/expert.json
  collect --episodes 50 --out data/libero
  collect --learner runs/libero/checkpoint --collection r1 --first-seed 1000 --out data/dagger
  collect --suite libero_spatial --episodes 50 --out data/libero_spatial
  sqil-train-bc --domain libero_object --data data/libero --out runs/libero        (in .venv)
  sqil-quantize --contract config/libero_contract.yaml --checkpoint runs/libero/checkpoint
  judge --checkpoint runs/libero/checkpoint --profiles fp,int3_rtn --episodes 20 --json out/l.json

`judge` evaluates from LIBERO's own initial states 0 to 49 of every task; `collect` never uses
them. Both go on where an interrupted run stopped. docs/libero.md tells the whole way.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from sqil_ros.errors import SqilError
from sqil_training.libero.collect import collect
from sqil_training.libero.compare import compare
from sqil_training.libero.objects import OBJECT
from sqil_training.libero.tasks import STARTS, SUITES


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        if importlib.util.find_spec('libero') is None:
            raise SqilError(
                f'{sys.executable} has no LIBERO; run `make judge-libero`, which makes the '
                'environment .venv-libero and starts this in it.'
            )
        return collect(args) if args.verb == 'collect' else compare(args)
    except (SqilError, OSError) as error:
        print(f'judge-libero: {type(error).__name__}: {error}', file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='judge-libero', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(dest='verb', required=True)
    gather = verbs.add_parser(
        'collect', help='demonstrations of the scripted expert, or episodes that it labels'
    )
    gather.add_argument('--out', type=Path, required=True, help='root of the episode tree')
    gather.add_argument('--episodes', type=int, default=50, help='episodes per task')
    gather.add_argument('--first-seed', type=int, default=0, help='of the placements')
    gather.add_argument('--collection', default='expert', help='name of this collection')
    gather.add_argument(
        '--learner', type=Path, metavar='CHECKPOINT', help='who acts, while the expert labels'
    )
    gather.add_argument('--profile', default='fp', help='of the learner')
    gather.add_argument('--teacher-share', type=float, default=0.3, help='steps of the expert')
    gather.add_argument('--dry-run', action='store_true', help='say what would be collected')
    judge = verbs.add_parser('judge', help='success of a policy, by the word of LIBERO')
    judge.add_argument('--checkpoint', type=Path, help="the suite's own of models/ if left out")
    judge.add_argument(
        '--profiles', default='fp', metavar='A,B,...',
        help='profiles, or expert; A is tested against each of the others',
    )  # fmt: skip
    judge.add_argument('--json', type=Path, required=True, help='result file, as of sqil-eval')
    judge.add_argument('--episodes', type=int, default=20, help='episodes per task')
    judge.add_argument('--first', type=int, default=0, help='first initial state or seed')
    judge.add_argument(
        '--starts', choices=STARTS, default=STARTS[0], help="LIBERO's own, or its sampler's"
    )
    judge.add_argument('--instruction', choices=('own', 'wrong'), default='own')
    judge.add_argument('--images', choices=('camera', 'black'), default='camera')
    for verb in (gather, judge):
        verb.add_argument('--suite', choices=tuple(SUITES), default=OBJECT.name)
        verb.add_argument(
            '--tasks', nargs='+', metavar='TASK', help='all of the suite; a wrong one lists them'
        )
        verb.add_argument('--workers', type=int, default=1, help='processes')
    return parser


if __name__ == '__main__':
    sys.exit(main())
