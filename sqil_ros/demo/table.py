# SPDX-License-Identifier: Apache-2.0
"""The result as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from sqil_ros.demo.outcome import Outcome, Tally, by_task, median_steps, percentiles
from sqil_ros.sim.tasks import task_by_name

_HEADER = ('task', 'success', '95 % interval', 'steps', 'p50 ms', 'p99 ms')


def table(outcomes: Sequence[Outcome]) -> str:
    """One row per task and one for all; steps are the median over the successes."""
    rows = [
        _row(task_by_name(name).instruction, group) for name, group in by_task(outcomes).items()
    ]
    rows.append(_row('all', outcomes))
    widths = [max(len(row[i]) for row in (_HEADER, *rows)) for i in range(len(_HEADER))]
    rule = '  '.join('─' * width for width in widths)
    lines = [_line(_HEADER, widths), rule, *(_line(row, widths) for row in rows[:-1])]
    return '\n'.join([*lines, rule, _line(rows[-1], widths)])


def _row(name: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    tally = Tally.of(outcomes)
    low, high = tally.interval
    steps = median_steps(outcomes)
    latency = percentiles([ms for outcome in outcomes for ms in outcome.latency_ms])
    return (
        name,
        f'{tally.successes}/{tally.episodes}',
        f'{low:.0%} to {high:.0%}',
        '–' if steps is None else str(steps),
        *('–' if latency[p] is None else f'{latency[p]:.0f}' for p in ('p50', 'p99')),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return '  '.join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])
