# SPDX-License-Identifier: Apache-2.0
"""Trapezoidal speed profile: how far a move from rest to rest has come after some time."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Trapezoid:
    """Rest to rest over ``length`` without exceeding ``speed`` and ``acceleration``.

    Units are the caller's: rad for joint moves, m for tool moves.
    """

    length: float
    speed: float
    acceleration: float

    @property
    def _ramp(self) -> float:
        """Duration [s] of the acceleration; short moves never reach ``speed``."""
        return min(self.speed / self.acceleration, math.sqrt(self.length / self.acceleration))

    @property
    def duration(self) -> float:
        """Seconds from rest to rest."""
        ramp = self._ramp
        return ramp + self.length / (self.acceleration * ramp) if ramp > 0.0 else 0.0

    def at(self, time: float) -> float:
        """Distance covered after ``time`` seconds, 0 to ``length``."""
        ramp, duration = self._ramp, self.duration
        if time >= duration:
            return self.length
        if time <= ramp:
            return 0.5 * self.acceleration * time * time
        if time <= duration - ramp:
            return self.acceleration * ramp * (time - 0.5 * ramp)
        left = duration - time
        return self.length - 0.5 * self.acceleration * left * left
