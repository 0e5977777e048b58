# SPDX-License-Identifier: Apache-2.0
"""What moves the arm: one small state machine per URScript motion, stepped every cycle.

How the real controller shapes these motions is not public. Trapezoids, joint-wise braking and the
servo lag are models; they are meant to be plausible, not measured.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from sqil_ros.errors import SqilError
from sqil_ros.kinematics import inverse_near
from sqil_ros.sim.servo import MAX_JOINT_SPEED, servo_step
from sqil_ros.sim.ur_controller.arm import Arm
from sqil_ros.types import Array, Pose

JOINT_LIMIT = 2.0 * np.pi
BRAKE_RAD_S2 = 13.0
"""Deceleration of safety stops and of a program's end: a CB3 UR5 stops from 183 deg/s in about
250 ms by its manual; taken over for all arms."""
_MAX_BRAKE_RAD_S2 = 40.0
_SOLVE_TOLERANCE = 1e-6
METRES_PER_RAD = 0.25
"""A pure rotation has no tool path length; 0.25 m per rad turns the default speed of 0.25 m/s into
1 rad/s (a choice of this model)."""


class MotionError(SqilError):
    """The running program asked for something impossible; the controller ends it."""


class SafetyViolation(SqilError):
    """A motion broke a limit that the safety system watches; it stops protectively."""


def require_finite(values: Array, what: str) -> Array:
    """``values`` themselves.

    Raises:
        MotionError: one of them is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise MotionError(f'{what} {values.tolist()} is not finite; send real numbers.')
    return values


def require_joints(q: Array) -> Array:
    """Joint angles ``q`` [rad] themselves.

    Raises:
        MotionError: not finite, or beyond a full turn.
    """
    require_finite(q, 'Joint target')
    if np.abs(q).max() > JOINT_LIMIT + 1e-6:
        raise MotionError(
            f'Joint target {q.tolist()} rad is beyond {JOINT_LIMIT:.3f} rad; keep joints within '
            'one turn.'
        )
    return q


def solve(arm: Arm, pose: Pose, seed: Array) -> Array:
    """Joint angles for ``pose`` [``base``] on the branch of ``seed``.

    Raises:
        MotionError: the pose cannot be reached from there.
    """
    q = inverse_near(arm.model, pose, seed, arm.tcp, tolerance=_SOLVE_TOLERANCE)
    if q is None:
        raise MotionError(
            f'No joint angles reach position {np.round(pose.position, 4).tolist()} m; ask only '
            'for poses inside the workspace.'
        )
    return require_joints(q)


class Motion(ABC):
    """One motion. It is asked for the next joint command every cycle until it is done."""

    done = False

    @abstractmethod
    def step(self, arm: Arm, dt: float) -> Array:
        """(6,) joint command [rad] after ``dt`` seconds.

        Raises:
            MotionError: the program must end.
            SafetyViolation: the robot must stop protectively.
        """

    def restart(self) -> None:  # noqa: B027 - most motions have nothing to forget
        """Go on from wherever the arm is now, after it was braked on the way."""


class Stop(Motion):
    """Decelerate every joint alike, so that the tool stays on its path."""

    def __init__(self, joint_rate: float | None = None, tool_rate: float | None = None) -> None:
        """Stop with ``joint_rate`` [rad/s^2] (stopj) or ``tool_rate`` [m/s^2] (stopl)."""
        self._joint_rate = joint_rate
        self._tool_rate = tool_rate
        self._duration: float | None = None
        self._elapsed = 0.0

    def step(self, arm: Arm, dt: float) -> Array:
        """See :class:`Motion`."""
        if self._duration is None:
            self._speed = arm.qd.copy()
            self._duration = self._seconds(arm)
        self._elapsed += dt
        left = 1.0 - self._elapsed / self._duration if self._duration > 0.0 else 0.0
        if left <= 0.0:
            self.done = True
            return arm.q
        return arm.q + self._speed * (left * dt)

    def _seconds(self, arm: Arm) -> float:
        fastest = float(np.abs(arm.qd).max())
        if fastest < 1e-9:
            return 0.0
        if self._tool_rate is None:
            return fastest / min(max(self._joint_rate or BRAKE_RAD_S2, 1e-3), _MAX_BRAKE_RAD_S2)
        twist = arm.jacobian() @ arm.qd
        metres = max(
            float(np.linalg.norm(twist[:3])), METRES_PER_RAD * float(np.linalg.norm(twist[3:]))
        )
        return max(metres / max(self._tool_rate, 1e-3), fastest / _MAX_BRAKE_RAD_S2)


class Servo(Motion):
    """servoj: chase the newest joint target for ever."""

    def __init__(self, target: Array, lookahead: float) -> None:
        self.target = target
        self.lookahead = lookahead

    def step(self, arm: Arm, dt: float) -> Array:
        """See :class:`Motion`."""
        jump = float(np.abs(self.target - arm.q).max())
        if jump > arm.servo_jump_limit:
            raise SafetyViolation(
                f'A servo target is {jump:.3f} rad away, the limit is {arm.servo_jump_limit} rad; '
                'interpolate between targets.'
            )
        return servo_step(arm.q, self.target, self.lookahead, dt)


class JointSpeed(Motion):
    """speedj: approach a joint speed, then keep it for ever."""

    def __init__(self, target: Array, acceleration: float) -> None:
        self.target = target
        self.acceleration = acceleration

    def step(self, arm: Arm, dt: float) -> Array:
        """See :class:`Motion`."""
        speed = arm.qd + _bounded(self.target - arm.qd, self.acceleration * dt)
        return arm.q + watched(speed) * dt


class ToolSpeed(Motion):
    """speedl: approach a twist [m/s, rad/s] in ``base``, then keep it for ever."""

    def __init__(self, target: Array, acceleration: float) -> None:
        self.target = target
        self.acceleration = acceleration

    def step(self, arm: Arm, dt: float) -> Array:
        """See :class:`Motion`."""
        jacobian = arm.jacobian()
        twist = jacobian @ arm.qd
        twist += _bounded(self.target - twist, self.acceleration * dt)
        damped = jacobian.T @ jacobian + 1e-8 * np.eye(6)
        return arm.q + watched(np.linalg.solve(damped, jacobian.T @ twist)) * dt


def _bounded(change: Array, limit: float) -> Array:
    """``change`` shortened so that no component exceeds ``limit``."""
    largest = float(np.abs(change).max())
    return change if largest <= limit else change * (limit / largest)


def watched(speed: Array) -> Array:
    """Joint speeds [rad/s] themselves, unless the safety system would not have them."""
    fastest = float(np.abs(speed).max())
    if fastest > 1.05 * MAX_JOINT_SPEED:
        raise SafetyViolation(
            f'A joint would turn at {fastest:.2f} rad/s, the limit is {MAX_JOINT_SPEED} rad/s; '
            'move slower or keep away from singular poses.'
        )
    return speed
