# SPDX-License-Identifier: Apache-2.0
"""A run as a page for people: its loss and, where it was looked at, its held-out frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from sqil_ros.report.style import STYLE
from sqil_training.finetune.curve_chart import Curve, curve_chart
from sqil_training.finetune.run_log import Row, best_look, course
from sqil_training.finetune.settings import FinetuneSettings

PAGE = 'curves.html'

_STYLE = """
.card + .card { margin-top: 14px; }
.note { color: var(--soft); font-size: 14px; margin: 8px 0 0; }
"""
_TERMS = ('total', 'imitation', 'distillation')


def run_page(rows: Sequence[Row], settings: FinetuneSettings) -> str:
    """The page of a run, from the lines of its log."""
    title = f'{settings.method} on {settings.profile}'
    sections = [
        f'<h1>{escape(title)}</h1>',
        f'<p class="soft">adapter {escape(settings.adapter)}, distance '
        f'{escape(settings.distance)}, {settings.steps} steps of {settings.batch} frames</p>',
        *_loss(rows, settings),
        *_held(rows, settings),
    ]
    body = '\n'.join(sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><style>{STYLE}{_STYLE}</style></head>\n'
        f'<body><main>{body}</main></body></html>\n'
    )


def _loss(rows: Sequence[Row], settings: FinetuneSettings) -> list[str]:
    curves = [Curve(name, points) for name in _TERMS if (points := course(rows, name))]
    if not curves:
        return []
    return [
        '<h2>Loss</h2>',
        f'<div class="card">{curve_chart(curves, settings.steps, logarithmic=True)}</div>',
        '<p class="note">Means since the report before; the axis is logarithmic. Both terms are '
        'drawn, also the one that the method leaves out of the total.</p>',
    ]


def _held(rows: Sequence[Row], settings: FinetuneSettings) -> list[str]:
    best = best_look(rows)
    if best is None:
        return []
    looks = (row['teacher'] for row in reversed(rows) if 'teacher' in row)
    teacher: Mapping[str, float] = next(looks, {})

    def chart(key: str, name: str, logarithmic: bool = False) -> str:
        level = teacher.get(key)
        curve = Curve(name, course(rows, 'held', key), level or None)  # 0 has no place on a log
        return f'<div class="card">{curve_chart([curve], settings.steps, logarithmic)}</div>'

    step, error = best
    return [
        '<h2>Held-out frames</h2>',
        chart('action_error', 'action error'),
        chart('gripper_agreement', 'gripper agreement'),
        chart('distance', 'distance to the teacher', logarithmic=True),
        f'<p class="note">Best at step {step}, with an action error of {error:.4g}; the state is '
        'that of the last step. Dotted lines: the teacher itself.</p>',
    ]
