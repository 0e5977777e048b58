# SPDX-License-Identifier: Apache-2.0
"""A comparison as a picture: one line a policy, its success as a dot with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sqil_ros.report.svg import text

_WIDTH, _ROW, _NAMES, _RIGHT, _TOP, _BOTTOM = 760.0, 26.0, 200.0, 70.0, 12.0, 30.0
# Greys and a blue that are read on white and on black.
_INK, _SOFT, _ACCENT = '#767676', '#b4b4b4', '#3b82c4'


def comparison_chart(profiles: Sequence[Mapping[str, Any]]) -> str:
    """An SVG document of all ``profiles``, best first, on an axis that just holds them."""
    rows = sorted(profiles, key=lambda profile: -profile['success'])
    start = max(0.0, min(row['interval'][0] for row in rows) // 0.1 * 0.1)
    floor = _TOP + _ROW * len(rows)
    height = floor + _BOTTOM

    def x(share: float) -> float:
        return _NAMES + (_WIDTH - _NAMES - _RIGHT) * (share - start) / (1.0 - start)

    parts = []
    for tick in _ticks(start):
        parts.append(
            f'<line x1="{x(tick):.1f}" y1="{_TOP}" x2="{x(tick):.1f}" y2="{floor}" '
            f'stroke="{_SOFT}" stroke-width="0.5"/>'
        )
        parts.append(_text(x(tick), floor + 18.0, f'{tick:.0%}', 'middle'))
    for i, row in enumerate(rows):
        y = _TOP + _ROW * (i + 0.5)
        low, high = row['interval']
        parts.append(_text(_NAMES - 12.0, y + 4.5, row['profile'], 'end'))
        parts.append(
            f'<line x1="{x(low):.1f}" y1="{y}" x2="{x(high):.1f}" y2="{y}" stroke="{_ACCENT}" '
            'stroke-width="3" stroke-linecap="round" opacity="0.5"/>'
            f'<circle cx="{x(row["success"]):.1f}" cy="{y}" r="5" fill="{_ACCENT}"/>'
        )
        parts.append(_text(x(1.0) + 12.0, y + 4.5, f'{row["success"]:.1%}', 'start'))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" '
        f'font-family="sans-serif" font-size="14">{"".join(parts)}</svg>\n'
    )


def _ticks(start: float) -> list[float]:
    step = 0.1 if start < 0.7 else 0.05
    return [start + i * step for i in range(round((1.0 - start) / step) + 1)]


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return text(x, y, escape(words), f'text-anchor="{anchor}" fill="{_INK}"')
