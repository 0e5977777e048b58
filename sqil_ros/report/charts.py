# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG; colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

_BINS = 48
_WIDTH, _HEIGHT, _BOTTOM, _TOP = 1000.0, 190.0, 24.0, 40.0


def interval_bar(share: float, low: float, high: float) -> str:
    """A proportion as a dot, its interval as a line, on a track from 0 to 100 %."""
    words = f'{share:.0%}, 95 % interval {low:.0%} to {high:.0%}'
    return (
        f'<svg viewBox="0 0 200 16" role="img" aria-label="{words}">'
        '<rect x="4" y="6" width="192" height="4" rx="2" fill="var(--track)"/>'
        f'<rect x="{4 + 192 * low:.1f}" y="6" width="{192 * (high - low):.1f}" height="4" rx="2" '
        'fill="var(--accent)" opacity="0.45"/>'
        f'<circle cx="{4 + 192 * share:.1f}" cy="8" r="5.5" fill="var(--accent)"/></svg>'
    )


def histogram(values: Sequence[float], marks: Mapping[str, float], unit: str) -> str:
    """How often which value occurred.

    Args:
        values: at least one.
        marks: named positions, e.g. percentiles; drawn as vertical lines.
        unit: of the values.

    Returns:
        An SVG element; what lies beyond the axis is counted in its last bar.
    """
    end = nice_ceiling(1.15 * max(*marks.values(), float(np.percentile(values, 99.5))))
    counts, _ = np.histogram(np.clip(values, 0.0, end), bins=_BINS, range=(0.0, end))
    floor, scale = _HEIGHT - _BOTTOM, (_HEIGHT - _BOTTOM - _TOP) / max(1, int(counts.max()))
    step = _WIDTH / _BINS
    parts = [
        f'<rect x="{i * step + 1:.1f}" y="{floor - scale * count:.1f}" width="{step - 2:.1f}" '
        f'height="{scale * count:.1f}" rx="1.5" fill="var(--accent)" opacity="0.75">'
        f'<title>{i * end / _BINS:.0f} to {(i + 1) * end / _BINS:.0f} {escape(unit)}: {count}'
        '</title></rect>'
        for i, count in enumerate(counts.tolist())
        if count
    ]
    parts.append(f'<line x1="0" y1="{floor}" x2="{_WIDTH}" y2="{floor}" stroke="var(--line)"/>')
    for i in range(6):
        anchor = 'start' if i == 0 else 'end' if i == 5 else 'middle'
        parts.append(
            f'<text x="{_WIDTH * i / 5:.0f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">'
            f'{end * i / 5:g}{" " + escape(unit) if i == 5 else ""}</text>'
        )
    for row, (name, value) in enumerate(marks.items()):
        parts.append(
            _mark(
                f'{name} {value:.0f} {unit}',
                _WIDTH * min(1.0, value / end),
                11.0 + 13.0 * row,
                floor,
            )
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
        f'aria-label="Distribution of {len(values)} values">{"".join(parts)}</svg>'
    )


def _mark(text: str, x: float, y: float, floor: float) -> str:
    anchor, shift = ('start', 5) if x < 0.85 * _WIDTH else ('end', -5)
    return (
        f'<line x1="{x:.1f}" y1="{y - 9:.0f}" x2="{x:.1f}" y2="{floor}" stroke="var(--ink)" '
        'stroke-dasharray="2 3"/>'
        f'<text x="{x + shift:.1f}" y="{y:.0f}" text-anchor="{anchor}" '
        f'style="fill: var(--ink)">{escape(text)}</text>'
    )


def nice_ceiling(value: float) -> float:
    """The next number of the form 1, 2, 2.5 or 5 times a power of ten; five ticks fit evenly."""
    if value <= 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(n * power for n in (1.0, 2.0, 2.5, 5.0, 10.0) if n * power >= value * (1 - 1e-9))
