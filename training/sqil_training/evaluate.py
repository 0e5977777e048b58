# SPDX-License-Identifier: Apache-2.0
"""sqil-eval: success of a policy in the toy sink, without ROS, as fast as the machine allows.

examples:
  sqil-eval --profile int4_rtn --episodes 50 --json out/int4.json
  sqil-eval --policy expert --episodes 50 --json docs/results/expert.json
  sqil-eval --profile fp --instruction wrong --json docs/results/wrong_instruction.json
  sqil-eval --profile fp --images black --variation lighting --tasks lift_eggplant
  sqil-eval --compare int3_sqil_merged,fp,int3_rtn,expert --first-seed 20000 --episodes 125 \
            --held data/held --json docs/results/int3.json

Episode i of every task starts from seed first_seed + i, so that profiles are compared on the same
initial states. An interrupted run goes on where it stopped when it is given the same --json.

--compare evaluates several profiles and tests the first of them against each of the others
(McNemar, Holm). A profile that FILE holds already, with the same weights and states, is not run
again: name one more and only that one runs. The same holds for profiles that a file of --known
holds. Profiles named ..._seed1, ..._seed2 are one method trained several times (sqil-export
--variant seed1): methods are then compared over their seeds, too. With --held, their actions on
held-out episodes and the time of a control step are compared, too. sqil-report makes tables and
plots of FILE.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqil_ros.contract import Contract
from sqil_ros.errors import SqilError
from sqil_ros.provenance import provenance
from sqil_ros.share import share_directory
from sqil_ros.sim.tasks import TASKS, task_by_name
from sqil_ros.sim.variation import VARIATIONS
from sqil_training.comparison import EXPERT
from sqil_training.comparison_file import ComparisonFile
from sqil_training.evaluation import Condition, Journal, evaluate, summaries, summary
from sqil_training.rollout import Outcome

DEFAULT_CHECKPOINT = share_directory() / 'models' / 'toy_sink_openvla'


def report(condition: Condition, outcomes: Sequence[Outcome], seeds: list[int]) -> dict[str, Any]:
    """The content of the result file of one profile."""
    total = summary(outcomes)
    return {
        'profile': condition.profile if condition.policy != EXPERT else EXPERT,
        'condition': {
            name: value for name, value in asdict(condition).items() if name != 'checkpoint'
        },
        'seeds': seeds,
        'success': total['success'],
        'interval': total['interval'],
        'tasks': summaries(outcomes),
        'episodes': [asdict(outcome) for outcome in outcomes],
        'provenance': provenance(),
    }


def evaluate_one(
    args: argparse.Namespace, condition: Condition, episodes: Sequence[tuple[str, int]]
) -> None:
    """Evaluate a single profile; writes its result file if there is one."""
    partial = args.json.with_suffix('.partial.jsonl') if args.json else None
    journal = Journal(partial, condition)
    outcomes = evaluate(condition, episodes, journal, args.workers, args.batch)
    seeds = sorted({seed for _, seed in episodes})
    _print(report(condition, outcomes, seeds))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        result = report(condition, outcomes, seeds)
        args.json.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
        journal.remove()
        print(f'written to {args.json}')


def compare(
    args: argparse.Namespace, condition: Condition, episodes: Sequence[tuple[str, int]]
) -> None:
    """Evaluate what the file lacks of ``--compare``, then test the first against the others."""
    if args.json is None:
        raise SqilError('--compare writes a file; name it with --json.')
    file = ComparisonFile(args.json, condition, episodes, Contract.load().period_s)
    names = args.compare.split(',')
    for known in args.known:
        file.borrow(known, names)
    content = file.complete(
        names,
        lambda one, journal: evaluate(one, episodes, journal, args.workers, args.batch),
    )
    if args.held:
        from sqil_training.side_by_side import side_by_side  # torch is for those who need it

        measured = [name for name in names if name != EXPERT]
        found = side_by_side(
            args.checkpoint, measured, args.held, args.held_scores, args.latency, args.workers
        )
        content = file.note(found, names[0])
    for row in content['profiles']:
        low, high = row['interval']
        print(f'{row["profile"]:24s} {row["success"]:.1%} [{low:.1%}, {high:.1%}]')
    for row in content['tests']:
        low, high = row['interval']
        print(
            f'{row["a"]} - {row["b"]}: {row["difference"]:+.1%} [{low:+.1%}, {high:+.1%}], '
            f'p {row["p"]:.2g}, after Holm {row["p_holm"]:.2g}'
        )
    for row in content.get('over_seeds', ()):
        low, high = row['interval']
        print(
            f'{row["a"]} - {row["b"]} over {len(row["seeds"])} training seeds: '
            f'{row["difference"]:+.1%} [{low:+.1%}, {high:+.1%}]'
        )
    print(f'written to {args.json}')


def _print(result: dict[str, Any]) -> None:
    for name, row in result['tasks'].items():
        low, high = row['interval']
        print(f'{name:16s} {row["successes"]:4d}/{row["episodes"]:<4d} [{low:.1%}, {high:.1%}]')
    low, high = result['interval']
    print(f'{"all":16s} {result["success"]:.1%} [{low:.1%}, {high:.1%}]')


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _parser().parse_args(argv)
    condition = Condition(
        args.policy,
        str(args.checkpoint),
        args.profile,
        args.variation,
        args.instruction,
        args.images,
    )
    seeds = range(args.first_seed, args.first_seed + args.episodes)
    try:
        tasks = [task_by_name(name).name for name in args.tasks]
        episodes = [(task, seed) for seed in seeds for task in tasks]
        if args.compare:
            compare(args, condition, episodes)
        else:
            evaluate_one(args, condition, episodes)
    except SqilError as error:
        print(f'sqil-eval: {error}', file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='sqil-eval', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--policy', choices=('checkpoint', EXPERT), default='checkpoint')
    parser.add_argument('--checkpoint', type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument('--profile', default='fp', help='fp, int8_rtn, int4_rtn, int3_rtn ...')
    parser.add_argument(
        '--compare', metavar='A,B,...', help='profiles, or expert; A is tested against each'
    )
    parser.add_argument('--tasks', nargs='+', default=[task.name for task in TASKS])
    parser.add_argument('--episodes', type=int, default=50, help='episodes per task')
    parser.add_argument('--first-seed', type=int, default=10000)
    parser.add_argument('--variation', choices=VARIATIONS, default='nominal')
    parser.add_argument('--instruction', choices=('own', 'wrong'), default='own')
    parser.add_argument('--images', choices=('camera', 'black'), default='camera')
    parser.add_argument('--json', type=Path, help='result file')
    parser.add_argument(
        '--known', type=Path, nargs='+', default=[], metavar='FILE',
        help='other comparisons of the same states, whose results --compare takes over',
    )  # fmt: skip
    parser.add_argument('--held', type=Path, help='episodes on which --compare compares actions')
    parser.add_argument('--held-scores', type=Path, help='saliency of --held, by sqil-score')
    parser.add_argument('--latency', type=int, default=100, help='steps that --held times of each')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    parser.add_argument('--batch', type=int, default=5, help='arms per process')
    return parser


if __name__ == '__main__':
    sys.exit(main())
