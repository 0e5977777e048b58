# SPDX-License-Identifier: Apache-2.0
"""The choices, and the policies that follow from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SCORE, TRAIN = 'score', 'train'


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


def cells_of(knob: Knob) -> Iterator[tuple[str, Cell]]:
    """(value, cell) of a table; the base is the cell without a variant."""
    for value in knob.values:
        if value == knob.base:
            yield value, Cell()
            continue
        variant = f'{knob.name.lower()}_{value.replace(".", "_")}'
        options = {knob.command: (knob.option, value)}
        yield value, Cell(variant, **options)


def base_of(name: str) -> str:
    """The value of a knob that all other tables are made with."""
    return next(knob.base for knob in KNOBS if knob.name == name)
