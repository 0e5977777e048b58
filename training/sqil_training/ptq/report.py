# SPDX-License-Identifier: Apache-2.0
"""The table that sqil-quantize prints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqil_training.ptq.quantizer import LayerError


@dataclass(frozen=True)
class Row:
    """One line of the report: bytes, and errors relative to the weights' own norm."""

    name: str
    disk: int
    memory: int | None
    error: float = 0.0
    worst: float = 0.0
    worst_layer: str = ''
    action_error: float | None = None


def weight_errors(errors: Mapping[str, LayerError]) -> tuple[float, float, str]:
    """Relative Frobenius error of all layers together and of the worst, with its name."""
    relative = {name: math.sqrt(e.error / (e.norm or 1.0)) for name, e in errors.items()}
    worst = max(relative, key=lambda name: relative[name])
    total, norm = (sum(getattr(e, part) for e in errors.values()) for part in ('error', 'norm'))
    return math.sqrt(total / (norm or 1.0)), relative[worst], worst


def table(rows: Sequence[Row]) -> str:
    """The report; shares are of the first row, the full precision."""
    full = rows[0]
    width = max(24, *(len(row.name) for row in rows))
    lines = [
        f'{"profile":{width}} {"disk MB":>8} {"of fp":>6} {"memory MB":>10} {"of fp":>6} '
        f'{"weight error":>12} {"action error":>12}  worst layer'
    ]
    for row in rows:
        memory, share = ('-', '-')
        if row.memory is not None and full.memory:
            memory, share = f'{row.memory / 1e6:.2f}', f'{row.memory / full.memory:.0%}'
        action = '-' if row.action_error is None else f'{row.action_error:.4f}'
        worst = f'{row.worst:.4f} {row.worst_layer}' if row.worst_layer else ''
        lines.append(
            f'{row.name:{width}} {row.disk / 1e6:8.2f} {row.disk / full.disk:6.0%} {memory:>10} '
            f'{share:>6} {row.error:12.4f} {action:>12}  {worst}'
        )
    return '\n'.join(lines)
