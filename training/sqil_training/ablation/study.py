# SPDX-License-Identifier: Apache-2.0
"""What the cells have in common, and the commands that make one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqil_ros.quant.profile import PROFILES_DIRECTORY
from sqil_training.ablation.knobs import KNOBS, Cell, Knob, base_of, cells_of


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
        precision: of the students' products.
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
    precision: str
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
            *_with_defaults(cell.score, {'--grid': base_of('N'), '--stride': base_of('k')}),
        ]  # fmt: skip

    def train_command(self, cell: Cell) -> list[str]:
        """Train a cell."""
        return [
            'sqil_training.train', '--preset', str(self.preset), '--data', *map(str, self.data),
            '--out', str(self.run(cell)), '--checkpoint', str(self.copy),
            '--episodes', str(self.episodes), '--scores', str(self.work / cell.scores),
            '--threads', '1', '--profile', self.profile, '--adapter', 'merged',
            '--steps', str(self.steps), '--cool-down', str(self.steps // 2), '--save', '100',
            '--precision', self.precision,
            *_with_defaults(cell.train, {'--method': base_of('method')}),
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


def _with_defaults(options: Sequence[str], defaults: dict[str, str]) -> list[str]:
    chosen = defaults | dict(zip(options[::2], options[1::2], strict=True))
    return [word for pair in chosen.items() for word in pair]
