# SPDX-License-Identifier: Apache-2.0
"""Values over the steps of a run as inline SVG; colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqil_ros.report.charts import nice_ceiling
from sqil_ros.report.svg import WIDTH, line, polyline, svg, text

_HEIGHT, _TOP, _BOTTOM = 200.0, 30.0, 22.0
_FLOOR = _HEIGHT - _BOTTOM
_TICKS = 5
_LEAST, _DECADES = 1e-9, 1e-6
_COLOURS = ('var(--accent)', 'var(--bad)', 'var(--ink)')


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: written above the chart in the colour of the line.
        points: (step, value), in the order of steps.
        level: a value that is worth reaching, a dotted line; None for none.
    """

    name: str
    points: Sequence[tuple[int, float]]
    level: float | None = None


@dataclass(frozen=True)
class Axis:
    """From values to heights: from ``low`` to ``high``, or between their logarithms."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def of(cls, values: Sequence[float], logarithmic: bool) -> Axis:
        """Wide enough for ``values``: from 0, or over six powers of ten at most."""
        largest = max(_LEAST, *values)
        if not logarithmic:
            return cls(0.0, nice_ceiling(largest), False)
        least = min((value for value in values if value > 0.0), default=largest)
        low = 10.0 ** math.floor(math.log10(max(least, _DECADES * largest)))
        return cls(low, max(10.0 * low, nice_ceiling(largest)), True)

    def height(self, value: float) -> float:
        """Where ``value`` lies; those below the axis lie on it."""
        share = (value - self.low) / (self.high - self.low)
        if self.logarithmic:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return _FLOOR - (_FLOOR - _TOP) * share

    @property
    def marks(self) -> list[float]:
        """Values that are written beside the axis: its ends, and powers of ten between them."""
        if not self.logarithmic:
            return [self.low, self.high]
        powers = range(round(math.log10(self.low)), math.floor(math.log10(self.high) + 1e-9) + 1)
        return sorted({*(10.0**power for power in powers), self.high})


def curve_chart(curves: Sequence[Curve], steps: int, logarithmic: bool = False) -> str:
    """Some curves on one axis.

    Args:
        curves: at most three, of at least one point each.
        steps: at which the run ends.
        logarithmic: for values over orders of magnitude.
    """
    values = [value for curve in curves for _, value in curve.points]
    values += [curve.level for curve in curves if curve.level is not None]
    axis, end = Axis.of(values, logarithmic), max(1, steps)
    parts = []
    for value in axis.marks:
        y = axis.height(value)
        parts += [line(0.0, y, WIDTH, y, 'var(--line)'), text(2.0, y - 4.0, f'{value:g}')]
    for tick in range(_TICKS + 1):
        anchor = 'start' if tick == 0 else 'end' if tick == _TICKS else 'middle'
        place = f'text-anchor="{anchor}"'
        parts.append(text(WIDTH * tick / _TICKS, _HEIGHT - 6.0, f'{end * tick / _TICKS:g}', place))
    start = 60.0
    for curve, colour in zip(curves, _COLOURS, strict=False):
        points = [(WIDTH * step / end, axis.height(value)) for step, value in curve.points]
        parts.append(polyline(points, colour))
        for (x, y), (step, value) in zip(points, curve.points, strict=True):
            parts.append(_dot(x, y, colour, f'step {step}: {value:.4g}'))
        if curve.level is not None:
            y = axis.height(curve.level)
            parts.append(line(0.0, y, WIDTH, y, colour, 'stroke-dasharray="2 3"'))
        parts.append(text(start, 12.0, curve.name, f'style="fill: {colour}"'))
        start += 20.0 + 7.0 * len(curve.name)
    return svg(_HEIGHT, ', '.join(curve.name for curve in curves), parts)


def _dot(x: float, y: float, colour: str, words: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}">'
        f'<title>{words}</title></circle>'
    )
