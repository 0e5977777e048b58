# SPDX-License-Identifier: Apache-2.0
"""The commanded side of the arm: joint command, tool, and the motion in charge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sqil_ros.kinematics import FLANGE, ArmModel, forward, jacobian
from sqil_ros.types import Array, Pose

if TYPE_CHECKING:
    from sqil_ros.sim.ur_controller.motion import Motion


class Arm:
    """What the controller commands; the plant decides what becomes of it.

    Attributes:
        q: (6,) joint command [rad].
        qd: (6,) its speed [rad/s].
        qdd: (6,) its acceleration [rad/s^2].
        tcp: active tool centre point seen from the flange.
        payload: (4,) mass [kg] and centre of gravity [m]; reported, no influence on the motion.
        speed_scaling: share of the programmed speed that moves run at (the pendant's slider).
        servo_jump_limit: distance [rad] of a servo target that stops the robot protectively.
        motion: what moves the arm; None holds it where it is.
        brake: overrides the motion while the robot is paused or stopped for safety.
    """

    def __init__(self, model: ArmModel, q: Array) -> None:
        """Stand still at the (6,) joint angles ``q`` [rad]."""
        self.model = model
        self.q = np.array(q, dtype=float)
        self.qd = np.zeros(6)
        self.qdd = np.zeros(6)
        self.tcp: Pose = FLANGE
        self.payload = np.zeros(4)
        self.speed_scaling = 1.0
        self.servo_jump_limit = math.inf
        self.motion: Motion | None = None
        self.brake: Motion | None = None

    @property
    def at_rest(self) -> bool:
        """Whether the command stands still."""
        return not self.qd.any()

    def pose(self) -> Pose:
        """Commanded TCP pose in ``base``."""
        return self.pose_at(self.q)

    def pose_at(self, q: Array) -> Pose:
        """TCP pose in ``base`` at the (6,) joint angles ``q`` [rad]."""
        return forward(self.model, q, self.tcp)

    def jacobian(self) -> Array:
        """(6, 6) Jacobian of the TCP at the joint command."""
        return jacobian(self.model, self.q, self.tcp)

    def step(self, dt: float) -> None:
        """Advance the command by one cycle.

        Raises:
            MotionError: the motion is impossible; the command stays where it was.
            SafetyViolation: the motion is too fast; the command stays where it was.
        """
        acting = self.brake or self.motion
        q = acting.step(self, dt) if acting is not None else self.q
        qd = (q - self.q) / dt
        self.qdd = (qd - self.qd) / dt
        self.q, self.qd = q, qd
        if self.motion is not None and self.motion.done:
            self.motion = None
