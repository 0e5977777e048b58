# SPDX-License-Identifier: Apache-2.0
"""How the controller's servo commands lag: shared by the emulator and the in-process simulation.

Universal Robots does not publish the servo law. That the lag follows the look-ahead time, and the
factor 0.4, are an inference from reported tracking delays (a look-ahead of 0.1 s trails by some
tens of milliseconds); the proportional gain is left out because a position-controlled model has
no stiffness to set. Nothing here was measured on an arm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sqil_ros.types import Array

LAG_PER_LOOKAHEAD = 0.4
"""Time constant of the lag as a share of the look-ahead time (inference, see above)."""

MAX_JOINT_SPEED = math.pi
"""Joint speed [rad/s] that no UR5 or UR5e joint exceeds (180 degrees a second)."""


@dataclass(frozen=True)
class ServoFilter:
    """First-order lag from joint targets to joint commands, with a joint speed limit.

    Attributes:
        lookahead: look-ahead time [s] of servoJ or servoL, 0.03 to 0.2.
        max_joint_speed: largest joint speed [rad/s] of the command.
    """

    lookahead: float = 0.1
    max_joint_speed: float = MAX_JOINT_SPEED

    def advance(self, q: Array, target: Array, dt: float) -> Array:
        """The joint command one step later.

        Args:
            q: (6,) joint command [rad] now.
            target: (6,) joint angles [rad] of the latest servo command.
            dt: step [s]; the discretisation is exact, so two half steps equal one whole step.

        Returns:
            (6,) joint command [rad] after ``dt``.
        """
        share = -math.expm1(-dt / (LAG_PER_LOOKAHEAD * self.lookahead))
        limit = self.max_joint_speed * dt
        return q + np.clip((target - q) * share, -limit, limit)
