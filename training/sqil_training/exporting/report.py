# SPDX-License-Identifier: Apache-2.0
"""The parity report: a JSON file with everything, and a table for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqil_ros.policy.manifest import CheckpointManifest
from sqil_ros.provenance import provenance
from sqil_ros.quant.manifest import Profile
from sqil_ros.quant.profile import WEIGHTS_NAME
from sqil_training.exporting.forms import MEANING
from sqil_training.exporting.held_out import HeldOut
from sqil_training.exporting.parity import Distances, Row
from sqil_training.whole_file import whole_file

SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """What was measured of a profile, and on what.

    Attributes:
        profile: its manifest.
        checkpoint: manifest of its full precision.
        data: held-out frames.
        rows: one per form.
    """

    profile: Profile
    checkpoint: CheckpointManifest
    data: HeldOut
    rows: Sequence[Row]

    @property
    def content(self) -> dict[str, Any]:
        """What the JSON file holds."""
        scores = self.data.scores
        return {
            'schema': SCHEMA,
            'profile': self.profile.name,
            'weights': self.profile.files[WEIGHTS_NAME].sha256,
            'checkpoint': {'name': self.checkpoint.name, 'digest': self.checkpoint.digest},
            'data': {
                'digest': self.data.digest,
                'episodes': len(self.data.episodes),
                'frames': self.data.frames,
            },
            'scores': None if scores is None else {'top': scores.top, 'beta': scores.beta},
            'forms': [asdict(row) | {'meaning': MEANING[row.form]} for row in self.rows],
            'provenance': provenance(),
        }

    @property
    def table(self) -> str:
        """Markdown, with a line below about the frames."""
        return '\n'.join([*_lines(self.rows), '', *self._notes()])

    def _notes(self) -> list[str]:
        data, scores = self.data, self.data.scores
        notes = [
            f'{data.frames} frames of {len(data.episodes)} held-out episodes (data '
            f'`{data.digest[:16]}`). Action error: mean '
            'absolute difference of normalised actions (-1 to 1), all dimensions alike. Gripper: '
            'share of the frames on which both open or both close it.'
        ]
        if scores is not None:
            notes.append(
                f'Weighted: the {scores.top:.0%} most salient frames count {scores.beta:g} times.'
            )
        return notes


def write_report(path: Path, report: Report) -> None:
    """Write the JSON file, whole or not at all.

    Raises:
        OSError: the disk is full or not to be written to; what was there stays.
    """
    text = json.dumps(report.content, indent=1) + '\n'
    with whole_file(path) as file:
        file.write(text.encode())


def _lines(rows: Sequence[Row]) -> list[str]:
    head = ['form', 'back-end', 'frames count']
    head += ['action error to full', 'to demonstration', 'gripper as full', 'as demonstrated']
    head += ['same actions as fake', 'largest difference']
    lines = [f'| {" | ".join(head)} |', f'|{"---|" * len(head)}']
    for row in rows:
        same = ['-', '-']
        if row.fake is not None:
            same = [f'{row.fake.same:.2%}', f'{row.fake.largest:.4f}']
        lines.append(_line([row.form, row.back_end, 'alike', *_cells(row.plain), *same]))
        if row.weighted is not None:
            lines.append(
                _line([row.form, row.back_end, 'weighted', *_cells(row.weighted), '', ''])
            )
    return lines


def _cells(found: Distances) -> list[str]:
    full, shown = found.to_full, found.to_demonstration
    return [
        '-' if full is None else f'{full.action_error:.4f}',
        f'{shown.action_error:.4f}',
        '-' if full is None else f'{full.gripper_agreement:.2%}',
        f'{shown.gripper_agreement:.2%}',
    ]


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
