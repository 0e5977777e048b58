# SPDX-License-Identifier: Apache-2.0
"""Motions that end by themselves: moves from rest to rest, paths, and moves until contact."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from sqil_ros.geometry import interpolate, rotation_angle
from sqil_ros.sim.ur_controller.arm import Arm
from sqil_ros.sim.ur_controller.motion import (
    BRAKE_RAD_S2,
    METRES_PER_RAD,
    Motion,
    MotionError,
    Stop,
    ToolSpeed,
    require_finite,
    require_joints,
    solve,
    watched,
)
from sqil_ros.sim.ur_controller.profile import Trapezoid
from sqil_ros.types import Array, Pose

_CONTACT_N = 10.0
_LOOKOUTS = 21


class Move(Motion):
    """A move from rest to rest; one that starts while the arm moves brakes it first."""

    def __init__(self, speed: float, acceleration: float) -> None:
        if not (speed > 0.0 and acceleration > 0.0):
            raise MotionError(
                f'Speed {speed} and acceleration {acceleration} of a move must be positive.'
            )
        self._speed = speed
        self._acceleration = acceleration
        self._brake: Stop | None = Stop(BRAKE_RAD_S2)
        self._elapsed = 0.0
        self._profile: Trapezoid | None = None

    def restart(self) -> None:
        """See :class:`Motion`."""
        self._brake, self._profile, self._elapsed = Stop(BRAKE_RAD_S2), None, 0.0

    def step(self, arm: Arm, dt: float) -> Array:
        """See :class:`Motion`."""
        if self._brake is not None:
            q = self._brake.step(arm, dt)
            if not self._brake.done:
                return q
            self._brake = None
        if self._profile is None:
            self._profile = Trapezoid(self._plan(arm), self._speed, self._acceleration)
        self._elapsed += dt * arm.speed_scaling
        self.done = self._elapsed >= self._profile.duration
        length = self._profile.length
        share = 1.0 if length <= 0.0 else self._profile.at(self._elapsed) / length
        q = self._at(arm, share)
        watched((q - arm.q) / dt)
        return q

    @abstractmethod
    def _plan(self, arm: Arm) -> float:
        """Remember the start and return the length of the way."""

    @abstractmethod
    def _at(self, arm: Arm, share: float) -> Array:
        """Joint command at ``share`` (0..1) of the way."""


class MoveJoints(Move):
    """movej: straight in joint space; speed and acceleration are the leading joint's."""

    def __init__(self, target: Array, speed: float, acceleration: float) -> None:
        super().__init__(speed, acceleration)
        self._target = require_joints(target)

    def _plan(self, arm: Arm) -> float:
        self._start = arm.q.copy()
        return float(np.abs(self._target - self._start).max())

    def _at(self, arm: Arm, share: float) -> Array:
        return self._start + share * (self._target - self._start)


class MoveTool(Move):
    """movel: straight in position, great arc in rotation."""

    def __init__(self, target: Pose, speed: float, acceleration: float) -> None:
        super().__init__(speed, acceleration)
        require_finite(np.concatenate([target.position, target.quaternion]), 'Pose')
        self._target = target

    def _plan(self, arm: Arm) -> float:
        self._start = arm.pose()
        q = arm.q
        for share in np.linspace(0.0, 1.0, _LOOKOUTS)[1:]:
            # The whole way is looked at first: a move that cannot arrive does not begin.
            q = solve(arm, interpolate(self._start, self._target, float(share)), q)
        return max(
            float(np.linalg.norm(self._target.position - self._start.position)),
            METRES_PER_RAD * rotation_angle(self._start.quaternion, self._target.quaternion),
        )

    def _at(self, arm: Arm, share: float) -> Array:
        return solve(arm, interpolate(self._start, self._target, share), arm.q)


class Path(Motion):
    """Moves one after the other, with a word to whoever follows the progress.

    Blend radii are not modelled: the arm stops at every waypoint.
    """

    def __init__(
        self, moves: Sequence[Callable[[], Motion]], progress: Callable[[int], None]
    ) -> None:
        """Each of ``moves`` is built when its turn comes, for it starts where the last ended."""
        self._left = list(moves)
        self._begun = 0
        self._progress = progress
        self._current: Motion | None = None

    def restart(self) -> None:
        """See :class:`Motion`."""
        if self._current is not None:
            self._current.restart()

    def step(self, arm: Arm, dt: float) -> Array:
        """See :class:`Motion`."""
        if self._current is None or self._current.done:
            if not self._left:
                self.done = True
                return arm.q
            self._progress(self._begun)
            self._begun += 1
            self._current = self._left.pop(0)()
        return self._current.step(arm, dt)


class ToolContact(Motion):
    """Move with a constant twist until the tool is pushed back, then brake."""

    def __init__(
        self, twist: Array, acceleration: float, direction: Array, force: Callable[[], Array]
    ) -> None:
        """Push is judged along ``direction`` (3,), or along the way if that is zero."""
        self._motion: Motion = ToolSpeed(twist, acceleration)
        along = direction if np.any(direction) else twist[:3]
        self._along = along / max(float(np.linalg.norm(along)), 1e-9)
        self._force = force
        self._braking = False

    def step(self, arm: Arm, dt: float) -> Array:
        """See :class:`Motion`."""
        if not self._braking and -float(self._along @ self._force()) > _CONTACT_N:
            self._motion, self._braking = Stop(tool_rate=3.0), True
        q = self._motion.step(arm, dt)
        self.done = self._motion.done
        return q
