# SPDX-License-Identifier: Apache-2.0
"""The strokes that charts are drawn with; lengths in units of a drawing that is WIDTH wide."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 1000.0


def svg(height: float, words: str, parts: Sequence[str]) -> str:
    """A drawing of some parts; ``words`` say to who cannot see it what it shows."""
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="{words}">'
        f'{"".join(parts)}</svg>'
    )


def line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = '') -> str:
    """A straight line; ``more`` are further attributes."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'
    )


def polyline(points: Sequence[tuple[float, float]], colour: str) -> str:
    """Straight lines from point to point."""
    corners = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
    return (
        f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="2" '
        'stroke-linejoin="round"/>'
    )


def text(x: float, y: float, words: str, more: str = '') -> str:
    """Words that begin at a point; ``more`` are further attributes."""
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{words}</text>'
