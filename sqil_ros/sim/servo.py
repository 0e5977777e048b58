# SPDX-License-Identifier: Apache-2.0
"""How a UR controller follows a stream of servo targets (a model, not a measurement)."""

from __future__ import annotations

import math

import numpy as np

from sqil_ros.types import Array

MAX_JOINT_SPEED = 3.14


class ServoFilter:
    """First-order lag on joint targets with a joint-speed clamp.

    The time constant is 0.4 of servoJ's lookahead time: an inference from published tracking lags
    of about 35 ms; the real controller's law is not public.
    """

    def __init__(self, q: Array, lookahead_s: float = 0.1) -> None:
        """Stand still at the (6,) joint angles ``q`` [rad]."""
        self.q = np.array(q, dtype=float)
        self.time_constant_s = 0.4 * lookahead_s

    def step(self, target: Array, dt: float) -> Array:
        """Joint command (6,) [rad] after ``dt`` seconds of chasing ``target``."""
        change = (target - self.q) * (1.0 - math.exp(-dt / self.time_constant_s))
        limit = MAX_JOINT_SPEED * dt
        self.q = self.q + np.clip(change, -limit, limit)
        return self.q
