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
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from sqil_ros.errors import SqilError, TrainingError
from sqil_ros.quant.profile import PROFILES_DIRECTORY
from sqil_ros.share import share_directory
from sqil_training.whole_file import whole_file

SCORE, TRAIN = 'score', 'train'
_LOG_END = 400


@dataclass(frozen=True)
class Knob:
    """One choice.

    Attributes:
        name: as in the paper.
        meaning: in words.
        command: whose option it is, ``score`` or ``train``.
        option: of that command.
        values: that are compared.
        base: the one of them that every other table is made with.
    """

    name: str
    meaning: str
    command: str
    option: str
    values: tuple[str, ...]
    base: str


KNOBS = (
    Knob('beta', 'weight of salient states', TRAIN, '--beta', ('1.5', '2', '3', '4', '5'), '2'),
    Knob('p', 'share of salient states', TRAIN, '--top', ('0.1', '0.15', '0.2', '0.3'), '0.2'),
    Knob('N', 'cells along a side of a picture', SCORE, '--grid', ('2', '4', '8'), '4'),
    Knob('k', 'every how many frames are scored', SCORE, '--stride', ('1', '2', '4', '6'), '4'),
    Knob('D', 'distance to the teacher', TRAIN, '--distance', ('l2', 'kl', 'reverse_kl'), 'l2'),
    Knob(
        'noise', 'what disturbs a cell', SCORE, '--perturbation',
        ('blur', 'channel_mean', 'gaussian', 'laplacian', 'uniform'), 'blur',
    ),
    Knob('weights', 'top p count beta, or scores themselves', TRAIN, '--weighting',
         ('top', 'raw'), 'top'),
    Knob('method', 'which terms of the loss', TRAIN, '--method', ('sqil', 'qbc', 'qat', 'qrd'),
         'sqil'),
)  # fmt: skip
"""The paper's tables 12 to 14, the grid, and the methods that SQIL contains."""


@dataclass(frozen=True)
class Cell:
    """One policy to be trained.

    Attributes:
        variant: what is added to the name of its profile; empty for the base.
        score: options of sqil-score that are not the base's.
        train: options of sqil-train likewise.
    """

    variant: str = ''
    score: tuple[str, ...] = ()
    train: tuple[str, ...] = ()

    @property
    def scores(self) -> str:
        """Name of the file of its scores."""
        return '_'.join(['scores', *(word.strip('-') for word in self.score)]) + '.parquet'


@dataclass(frozen=True)
class Study:
    """What the cells have in common.

    Attributes:
        data: episode trees.
        work: folder of everything that is not the result.
        checkpoint: the teacher.
        profile: the profile that students begin with.
        episodes: of the data that are used.
        steps: updates of every cell.
        preset: of the other settings.
        workers: processes at a time.
        knobs: tables that are made.
    """

    data: tuple[Path, ...]
    work: Path
    checkpoint: Path
    profile: str
    episodes: int
    steps: int
    preset: Path
    workers: int
    knobs: tuple[Knob, ...] = field(default=KNOBS)

    @property
    def copy(self) -> Path:
        """The checkpoint with the profiles of the cells, which are not for keeping."""
        return self.work / 'checkpoint'

    def cells(self) -> list[Cell]:
        """The base, then every other."""
        return [
            Cell(),
            *(cell for knob in self.knobs for _, cell in cells_of(knob) if cell.variant),
        ]

    def profile_of(self, cell: Cell) -> str:
        """Name of the profile that a cell becomes."""
        width = self.profile.split('_')[0]
        method = dict(zip(cell.train[::2], cell.train[1::2], strict=True)).get('--method', 'sqil')
        return '_'.join([width, method, 'merged', *filter(None, [cell.variant])])

    def score_command(self, cell: Cell) -> list[str]:
        """Score the data for a cell; the same for all cells with the same scores."""
        return [
            'sqil_training.score', '--data', *map(str, self.data),
            '--out', str(self.work / cell.scores), '--checkpoint', str(self.checkpoint),
            '--episodes', str(self.episodes), '--workers', '1',
            *_with_defaults(cell.score, {'--grid': _base('N'), '--stride': _base('k')}),
        ]  # fmt: skip

    def train_command(self, cell: Cell) -> list[str]:
        """Train a cell."""
        return [
            'sqil_training.train', '--preset', str(self.preset), '--data', *map(str, self.data),
            '--out', str(self.run(cell)), '--checkpoint', str(self.copy),
            '--episodes', str(self.episodes), '--scores', str(self.work / cell.scores),
            '--threads', '1', '--profile', self.profile, '--adapter', 'merged',
            '--steps', str(self.steps), '--cool-down', str(self.steps // 2), '--save', '100',
            *_with_defaults(cell.train, {'--method': _base('method')}),
        ]  # fmt: skip

    def export_command(self, cell: Cell) -> list[str]:
        """Make a trained cell a profile."""
        words = ['sqil_training.export', '--run', str(self.run(cell))]
        words += ['--checkpoint', str(self.copy)]
        return [*words, '--variant', cell.variant] if cell.variant else words

    def run(self, cell: Cell) -> Path:
        """Directory of the training run."""
        return self.work / 'runs' / (cell.variant or 'base')

    def exported(self, cell: Cell) -> bool:
        """Whether a cell is a profile already."""
        return (self.copy / PROFILES_DIRECTORY / self.profile_of(cell) / 'profile.yaml').is_file()


def cells_of(knob: Knob) -> Iterator[tuple[str, Cell]]:
    """(value, cell) of a table; the base is the cell without a variant."""
    for value in knob.values:
        if value == knob.base:
            yield value, Cell()
            continue
        variant = f'{knob.name.lower()}_{value.replace(".", "_")}'
        options = {knob.command: (knob.option, value)}
        yield value, Cell(variant, **options)


def tables(study: Study) -> list[dict[str, object]]:
    """For the result file: every table with the profile of each of its rows."""
    return [
        {
            'knob': knob.name,
            'meaning': knob.meaning,
            'rows': [
                {'value': value, 'profile': study.profile_of(cell)}
                for value, cell in cells_of(knob)
            ],
        }
        for knob in study.knobs
    ]


def train_cells(study: Study) -> None:
    """Score, train and export what is missing.

    Raises:
        TrainingError: a command failed.
    """
    prepare_copy(study)
    missing = [cell for cell in study.cells() if not study.exported(cell)]
    scores = {cell.scores: cell for cell in missing}
    wanted = [cell for name, cell in scores.items() if not (study.work / name).exists()]

    def make(cell: Cell) -> None:
        _run(study, study.train_command(cell))
        _run(study, study.export_command(cell))

    with ThreadPoolExecutor(study.workers) as pool:
        for jobs, work, unit in (
            (wanted, lambda cell: _run(study, study.score_command(cell)), 'scoring'),
            (missing, make, 'training'),
        ):
            results = pool.map(work, jobs)
            for _ in tqdm(results, desc=unit, total=len(jobs), unit='cell', disable=None):
                pass


def prepare_copy(study: Study) -> None:
    """Lay out the checkpoint once more, by links, with the one profile that cells begin with."""
    profiles = study.copy / PROFILES_DIRECTORY
    profiles.mkdir(parents=True, exist_ok=True)
    begin = study.checkpoint / PROFILES_DIRECTORY / study.profile
    if not begin.is_dir():
        raise TrainingError(
            f'{study.checkpoint} has no profile {study.profile}; make it with sqil-quantize.'
        )
    for path in [*study.checkpoint.iterdir(), begin]:
        link = (profiles if path == begin else study.copy) / path.name
        if path.name != PROFILES_DIRECTORY and not link.exists():
            link.symlink_to(path.resolve())


def _run(study: Study, words: Sequence[str]) -> None:
    """One command in a process of its own, with one thread.

    Raises:
        TrainingError: it failed; says how.
    """
    threads = {'OMP_NUM_THREADS': '1', 'OMP_WAIT_POLICY': 'PASSIVE'}
    done = subprocess.run(
        [sys.executable, '-m', *words], env=os.environ | threads, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise TrainingError(
            f'`python -m {" ".join(words)}` ended with {done.returncode}: '
            f'{done.stderr[-_LOG_END:].strip()}. Mend that and run the same command again.'
        )


def _base(name: str) -> str:
    return next(knob.base for knob in KNOBS if knob.name == name)


def _with_defaults(options: Sequence[str], defaults: dict[str, str]) -> list[str]:
    chosen = defaults | dict(zip(options[::2], options[1::2], strict=True))
    return [word for pair in chosen.items() for word in pair]


def evaluate_cells(study: Study, first_seed: int, episodes: int, result: Path) -> None:
    """Evaluate all cells from the same states and write the tables beside the outcomes.

    Raises:
        TrainingError: the evaluation failed.
    """
    names = ','.join(study.profile_of(cell) for cell in study.cells())
    _run(study, [
        'sqil_training.evaluate', '--compare', names, '--checkpoint', str(study.copy),
        '--first-seed', str(first_seed), '--episodes', str(episodes), '--batch', '6',
        '--workers', str(study.workers), '--json', str(result),
    ])  # fmt: skip
    text = result.read_text(encoding='utf-8').rstrip()
    found = json.dumps(tables(study), indent=1)
    with whole_file(result) as file:
        file.write(f'{text[:-1].rstrip()},\n "tables": {found}\n}}\n'.encode())


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _parser().parse_args(argv)
    study = Study(
        tuple(args.data), args.work, args.checkpoint, args.profile, args.demonstrations,
        args.steps, args.preset, args.workers,
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
    add('--first-seed', type=int, default=30000)
    add('--episodes', type=int, default=50, help='evaluated per task')
    add('--workers', type=int, default=2, help='processes')
    add('--knobs', nargs='+', choices=names, default=names, help='tables')
    add('--dry-run', action='store_true', help='say which cells are missing')
    return parser


if __name__ == '__main__':
    sys.exit(main())
