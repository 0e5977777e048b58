# SPDX-License-Identifier: Apache-2.0
"""Charts of saliency scores as inline SVG; colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sqil_ros.report.charts import nice_ceiling
from sqil_ros.report.svg import WIDTH, line, polyline, svg, text
from sqil_ros.types import Array

_BINS = 48
_BOTTOM = 22.0


def score_histogram(scores: Array, limit: float) -> str:
    """How often which score occurred, on a logarithmic axis; heavy frames in colour.

    Args:
        scores: (n,) at least one; those that are zero are counted in the first bar.
        limit: the threshold; scores above it count more.
    """
    height, top = 200.0, 30.0
    largest = max(float(scores.max()), 1e-9)
    low = math.floor(math.log10(max(float(np.quantile(scores, 0.005)), 1e-6 * largest)))
    high = math.log10(largest) + 1e-6
    logs = np.log10(np.maximum(scores, 10.0**low))
    edges = np.linspace(low, high, _BINS + 1)
    heavy, _ = np.histogram(logs[scores > limit], edges)
    light, _ = np.histogram(logs[scores <= limit], edges)
    floor = height - _BOTTOM
    scale = (floor - top) / max(1, int((heavy + light).max()))
    step = WIDTH / _BINS

    def x(log: float) -> float:
        return WIDTH * (log - low) / (high - low)

    parts = []
    for i, (few, many) in enumerate(zip(heavy.tolist(), light.tolist(), strict=True)):
        words = f'{10 ** edges[i]:.3g} to {10 ** edges[i + 1]:.3g}: {few + many} frames'
        parts.append(_bar(i * step, step, floor, scale * many, 'var(--soft)', words))
        parts.append(
            _bar(i * step, step, floor - scale * many, scale * few, 'var(--accent)', words)
        )
    parts.append(line(0.0, floor, WIDTH, floor, 'var(--line)'))
    parts.extend(
        text(min(x(power), WIDTH - 4.0), height - 6.0, f'{10.0**power:g}')
        for power in range(low, math.floor(high) + 1)
    )
    mark = x(math.log10(max(limit, 10.0**low)))
    parts.append(line(mark, 4.0, mark, floor, 'var(--ink)', 'stroke-dasharray="2 3"'))
    parts.append(text(mark + 5.0, 14.0, f'threshold {limit:.3g}', 'style="fill: var(--ink)"'))
    return svg(height, f'Distribution of {len(scores)} scores', parts)


def score_curve(
    scores: Array, limit: float, events: Mapping[int, str], shown: Sequence[int]
) -> str:
    """The score along an episode.

    Args:
        scores: (T,) score of every frame; frames that share one make a step.
        limit: the threshold, a dotted line; frames above it stand on a coloured ground.
        events: steps with a word for what happens there (the gripper closes, opens).
        shown: steps whose pictures are shown, dots on the curve.
    """
    height, top = 150.0, 22.0
    floor = height - _BOTTOM
    end = nice_ceiling(1.02 * max(float(scores.max()), limit, 1e-9))
    step = WIDTH / len(scores)

    def y(score: float) -> float:
        return floor - (floor - top) * score / end

    parts = [
        f'<rect x="{t * step:.2f}" y="{top}" width="{step:.2f}" height="{floor - top}" '
        'fill="var(--accent)" opacity="0.13" shape-rendering="crispEdges"/>'
        for t in np.flatnonzero(scores > limit).tolist()
    ]
    corners = [((t + d) * step, y(float(s))) for t, s in enumerate(scores) for d in (0, 1)]
    parts.append(polyline(corners, 'var(--accent)'))
    parts.append(line(0.0, floor, WIDTH, floor, 'var(--line)'))
    parts.append(line(0.0, y(limit), WIDTH, y(limit), 'var(--ink)', 'stroke-dasharray="2 3"'))
    parts.append(text(2.0, 10.0, f'{end:g}'))
    parts.extend(
        f'<circle cx="{(t + 0.5) * step:.1f}" cy="{y(float(scores[t])):.1f}" r="3.5" '
        'fill="var(--accent)"/>'
        for t in shown
    )
    for t, word in events.items():
        x = t * step
        parts.append(line(x, 0.0, x, floor, 'var(--bad)', 'stroke-width="1.5"'))
        parts.append(text(x + 4.0, 10.0, word, 'style="fill: var(--bad)"'))
    parts.extend(text(t * step, height - 6.0, f'{t}') for t in range(0, len(scores), 5))
    return svg(height, f'Score along {len(scores)} steps', parts)


def _bar(x: float, width: float, floor: float, height: float, colour: str, words: str) -> str:
    if height <= 0.0:
        return ''
    return (
        f'<rect x="{x + 1:.1f}" y="{floor - height:.1f}" width="{width - 2:.1f}" '
        f'height="{height:.1f}" fill="{colour}" opacity="0.8"><title>{words}</title></rect>'
    )
