# SPDX-License-Identifier: Apache-2.0
"""How a UR controller follows a stream of servo targets (a model, not a measurement).

First-order lag on joint targets with a joint-speed clamp. That the lag follows servoJ's lookahead
time, and the factor 0.4, are an inference from published tracking lags of about 35 ms; the real
controller's law is not public. Its gain is left out: a position-controlled model has no stiffness.
"""

from __future__ import annotations

import math

import numpy as np

from sqil_ros.types import Array

MAX_JOINT_SPEED = 3.14
LAG_PER_LOOKAHEAD = 0.4


def servo_step(q: Array, target: Array, lookahead_s: float, dt: float) -> Array:
    """Joint command one step after ``q``; two half steps equal one whole step.

    Args:
        q: (6,) joint command [rad] now.
        target: (6,) joint angles [rad] that are chased.
        lookahead_s: servoJ's lookahead time [s], 0.03 to 0.2.
        dt: step [s].
    """
    change = (target - q) * -math.expm1(-dt / (LAG_PER_LOOKAHEAD * lookahead_s))
    limit = MAX_JOINT_SPEED * dt
    return q + np.clip(change, -limit, limit)


class ServoFilter:
    """:func:`servo_step` that remembers where it is."""

    def __init__(self, q: Array, lookahead_s: float = 0.1) -> None:
        """Stand still at the (6,) joint angles ``q`` [rad]."""
        self.q = np.array(q, dtype=float)
        self._lookahead_s = lookahead_s

    def step(self, target: Array, dt: float) -> Array:
        """Joint command (6,) [rad] after ``dt`` seconds of chasing ``target``."""
        self.q = servo_step(self.q, target, self._lookahead_s, dt)
        return self.q
