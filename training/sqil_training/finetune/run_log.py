# SPDX-License-Identifier: Apache-2.0
"""The log of a run: `log.jsonl`, a JSON object a line, and what can be read from it.

A line with `settings` begins every start of the command; lines with `total` are reports of the
loss, lines with `held` are looks at held-out frames.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOG = 'log.jsonl'

Row = Mapping[str, Any]


def write_row(run: Path, row: Row) -> None:
    """Add a line to the log of the run in directory ``run``."""
    with (run / LOG).open('a', encoding='utf-8') as log:
        log.write(json.dumps(row) + '\n')


def read_rows(run: Path) -> list[Row]:
    """Every whole line; a power cut may have left a part of one."""
    path, rows = run / LOG, []
    for text in path.read_text(encoding='utf-8').splitlines() if path.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(text))
    return rows


def course(rows: Sequence[Row], *keys: str) -> list[tuple[int, float]]:
    """(step, value) of every row that has ``keys``, one inside the other, in the order of steps.

    A run that went on from its last state has made some steps twice; the last time counts.
    """
    found: dict[int, float] = {}
    for row in rows:
        value: Any = row
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None and 'step' in row:
            found[row['step']] = value
    return sorted(found.items())


def best_look(rows: Sequence[Row]) -> tuple[int, float] | None:
    """Step and action error of the best look at held-out frames, the first among equals."""
    looks = course(rows, 'held', 'action_error')
    return min(looks, key=lambda look: look[1]) if looks else None
