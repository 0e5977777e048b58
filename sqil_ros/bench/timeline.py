# SPDX-License-Identifier: Apache-2.0
"""Control steps as a picture: what follows what, and how long each takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from sqil_ros.policy.openvla.config import N_ACTIONS
from sqil_ros.report.svg import text

_WIDTH, _ROW, _NAMES, _RIGHT, _TOP, _BAR = 820.0, 30.0, 130.0, 90.0, 30.0, 18.0
_INK = '#767676'
_COLOURS = {
    'pictures': '#3b82c4', 'prompt': '#5aa469', 'tokens': '#c98a2b',
    'prompt and tokens': '#8d7bb5', 'between': '#b4b4b4',
}  # fmt: skip


def parts_of(stages: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """(name, milliseconds) in the order of a step, from the stages that were measured."""
    yield 'pictures', stages['vision']
    if 'prefill' in stages:
        tokens = stages['token'] * (N_ACTIONS - 1)
        yield 'prompt', stages['prefill']
        yield 'tokens', tokens
        left = stages['step'] - stages['vision'] - stages['prefill'] - tokens
    else:
        yield 'prompt and tokens', stages['decode']
        left = stages['step'] - stages['vision'] - stages['decode']
    yield 'between', max(0.0, left)


def timeline(rows: Sequence[Mapping[str, Any]]) -> str:
    """An SVG document with a bar for every candidate of a ``step``, medians of its stages."""
    stages: dict[str, dict[str, float]] = {}
    for row in rows:
        stages.setdefault(row['profile'], {})[row['stage']] = row['ms_p50']
    longest = max(found['step'] for found in stages.values())
    scale = (_WIDTH - _NAMES - _RIGHT) / longest
    parts = list(_legend())
    for index, (name, found) in enumerate(stages.items()):
        y, x = _TOP + _ROW * index, _NAMES
        parts.append(_text(_NAMES - 10.0, y + 14.0, name, 'end'))
        for part, milliseconds in parts_of(found):
            width = milliseconds * scale
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" '
                f'fill="{_COLOURS[part]}"><title>{part}: {milliseconds:.2f} ms</title></rect>'
            )
            x += width
        parts.append(_text(x + 8.0, y + 14.0, f'{found["step"]:.2f} ms', 'start'))
    height = _TOP + _ROW * len(stages)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" '
        f'font-family="sans-serif" font-size="13">{"".join(parts)}</svg>\n'
    )


def _legend() -> Iterator[str]:
    x = _NAMES
    for name, colour in _COLOURS.items():
        yield f'<rect x="{x}" y="6" width="12" height="12" fill="{colour}"/>'
        yield _text(x + 17.0, 16.0, name, 'start')
        x += 40.0 + 7.5 * len(name)


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return text(x, y, escape(words), f'text-anchor="{anchor}" fill="{_INK}"')
