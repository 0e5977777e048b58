# SPDX-License-Identifier: Apache-2.0
"""What a run says of itself on the way: a line of its log, and the log drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import torch

from sqil_training.finetune.held_out import HeldOut
from sqil_training.finetune.objective import Loss
from sqil_training.finetune.run_log import best_look, read_rows, write_row
from sqil_training.finetune.run_page import PAGE, run_page
from sqil_training.finetune.settings import FinetuneSettings
from sqil_training.finetune.trainer import Finetuner
from sqil_training.whole_file import whole_file


def report(run: Path, finetuner: Finetuner, recent: Sequence[Loss], frames_per_s: float) -> None:
    """Log the mean of some updates' losses."""
    row: dict[str, float] = {'step': finetuner.step}
    for entry in fields(Loss):
        values = torch.stack([getattr(terms, entry.name) for terms in recent])
        row[entry.name] = round(float(values.mean()), 5)
    row['frames_per_s'] = round(frames_per_s, 1)
    write_row(run, row)
    _draw(run, finetuner.settings)


def look_at(held: HeldOut, run: Path, finetuner: Finetuner) -> None:
    """Log the student's marks on held-out frames, and which were the best so far."""
    row = {'step': finetuner.step, 'held': asdict(held.marks(finetuner.network))}
    best = best_look([*read_rows(run), row])
    assert best is not None
    write_row(run, row | {'best': {'step': best[0], 'action_error': best[1]}})
    _draw(run, finetuner.settings)


def _draw(run: Path, settings: FinetuneSettings) -> None:
    with whole_file(run / PAGE) as file:
        file.write(run_page(read_rows(run), settings).encode())
