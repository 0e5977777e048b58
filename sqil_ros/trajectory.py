# SPDX-License-Identifier: Apache-2.0
"""From 5 Hz targets to a smooth setpoint at the robot's rate.

Targets are queued with the time at which they take effect. :class:`ReferencePath` walks from one
to the next on straight lines and great arcs; :class:`Smoother` averages that walk twice over a
short window, which bounds acceleration and jerk and can never overshoot. The robot worker and the
in-process simulation run this same code, so a policy meets the same arm in both.

With two windows of length T, a reference whose speed changes by at most ``a T`` gives a setpoint
with acceleration at most ``a`` and jerk at most ``2 a / T``; the path keeps to that change.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from sqil_ros.geometry import (
    quat_conjugate,
    quat_from_rotvec,
    quat_multiply,
    quat_normalize,
    rotvec_from_quat,
)
from sqil_ros.types import Array, Pose


@dataclass(frozen=True)
class MotionLimits:
    """Limits on the TCP's motion; defaults as in docs/safety.md.

    Attributes:
        linear_speed: m/s.
        linear_acceleration: m/s^2.
        angular_speed: rad/s.
        angular_acceleration: rad/s^2.
        window_s: length T of each averaging window; the jerk limit is ``2 a / T``, by default
            10 m/s^3 and 30 rad/s^3.
    """

    linear_speed: float = 0.25
    linear_acceleration: float = 1.0
    angular_speed: float = 0.75
    angular_acceleration: float = 3.0
    window_s: float = 0.2

    @property
    def linear_jerk(self) -> float:
        """m/s^3."""
        return 2.0 * self.linear_acceleration / self.window_s

    @property
    def angular_jerk(self) -> float:
        """rad/s^3."""
        return 2.0 * self.angular_acceleration / self.window_s


@dataclass(frozen=True)
class Waypoint:
    """A target that takes effect at ``start_s`` (seconds of the caller's clock)."""

    start_s: float
    pose: Pose
    gripper: float


@dataclass(frozen=True)
class Setpoint:
    """What is sent to the robot in one cycle: pose, gripper opening and the pose's derivatives."""

    pose: Pose
    gripper: float
    linear_velocity: Array
    angular_velocity: Array


class ReferencePath:
    """Timed targets, and a point that walks through them at bounded speed."""

    def __init__(self, pose: Pose, gripper: float, limits: MotionLimits, segment_s: float) -> None:
        """Stand still at ``pose``.

        Args:
            pose: where the arm is commanded to be now.
            gripper: opening commanded now (1 = open).
            limits: speeds and accelerations to keep.
            segment_s: time given to reach a target, the control period.
        """
        self._limits = limits
        self._segment_s = segment_s
        self._pending: deque[Waypoint] = deque()
        self._target = Waypoint(-math.inf, pose, gripper)
        self._pose = pose
        self._velocity = np.zeros(6)
        self._segment_end_s = -math.inf
        self._recent: deque[tuple[float, Array]] = deque()

    def push(self, waypoint: Waypoint) -> None:
        """Add a target; every queued one that would start at or after it is dropped."""
        while self._pending and self._pending[-1].start_s >= waypoint.start_s:
            self._pending.pop()
        self._pending.append(waypoint)

    def hold(self) -> None:
        """Forget every target and stay where the reference is; the gripper keeps its command."""
        self._pending.clear()
        self._target = Waypoint(-math.inf, self._pose, self._target.gripper)
        self._segment_end_s = -math.inf

    @property
    def newest(self) -> Waypoint:
        """The last target pushed, whether or not it has taken effect."""
        return self._pending[-1] if self._pending else self._target

    def step(self, now_s: float, dt: float) -> tuple[Pose, float]:
        """Reference pose and gripper opening one cycle of ``dt`` seconds later."""
        changed = False
        while self._pending and self._pending[0].start_s <= now_s:
            self._target = self._pending.popleft()
            changed = True
        if changed or now_s >= self._segment_end_s - 0.5 * dt:
            self._plan(now_s)
        self._pose = Pose(
            self._pose.position + self._velocity[:3] * dt,
            quat_normalize(
                quat_multiply(quat_from_rotvec(self._velocity[3:] * dt), self._pose.quaternion)
            ),
        )
        return self._pose, self._target.gripper

    def _plan(self, now_s: float) -> None:
        """Choose the velocity of the segment that starts now."""
        limits = self._limits
        spin = quat_multiply(self._target.pose.quaternion, quat_conjugate(self._pose.quaternion))
        way = np.concatenate(
            [self._target.pose.position - self._pose.position, rotvec_from_quat(spin)]
        )
        wanted = way / self._segment_s
        while self._recent and self._recent[0][0] < now_s - limits.window_s:
            self._recent.popleft()
        recent = [velocity for _, velocity in self._recent] + [self._velocity]
        velocity = np.concatenate(
            [
                _bounded(
                    wanted[part],
                    [v[part] for v in recent],
                    speed,
                    acceleration * limits.window_s,
                )
                for part, speed, acceleration in (
                    (slice(0, 3), limits.linear_speed, limits.linear_acceleration),
                    (slice(3, 6), limits.angular_speed, limits.angular_acceleration),
                )
            ]
        )
        self._recent.append((now_s, self._velocity))
        self._velocity = velocity
        self._segment_end_s = now_s + self._segment_s


def _bounded(wanted: Array, recent: list[Array], speed: float, change: float) -> Array:
    """``wanted`` (3,) shortened to ``speed`` and to within ``change`` of each recent velocity."""
    velocity = _shortened(wanted, min(speed, change))
    for _ in range(4):  # alternating projections onto the balls; two suffice in practice
        for centre in recent:
            velocity = centre + _shortened(velocity - centre, change)
    return velocity


def _shortened(vector: Array, limit: float) -> Array:
    norm = math.sqrt(float(vector @ vector))
    return vector * (limit / norm) if norm > limit else vector


class Smoother:
    """Averages the reference twice over ``window_s``: one triangular kernel over two windows."""

    def __init__(self, pose: Pose, limits: MotionLimits, dt: float) -> None:
        """Stand still at ``pose``; ``dt`` is the length of a control cycle [s]."""
        samples = max(1, round(limits.window_s / dt))
        box = np.full(samples, 1.0 / samples)
        kernel = np.convolve(box, box)
        # The kernel is symmetric, so rotating it to the ring's oldest sample is all it needs.
        self._weights = np.stack([np.roll(kernel, cursor) for cursor in range(len(kernel))])
        self._positions = np.tile(pose.position, (len(kernel), 1))
        self._quaternions = np.tile(pose.quaternion, (len(kernel), 1))
        self._cursor = 0
        self._dt = dt
        self._pose = pose

    def step(self, reference: Pose, gripper: float) -> Setpoint:
        """The setpoint after ``reference`` (the newest point of the path) came in."""
        self._positions[self._cursor] = reference.position
        self._quaternions[self._cursor] = reference.quaternion
        self._cursor = (self._cursor + 1) % len(self._weights)
        weights = self._weights[self._cursor]
        pose = Pose(
            weights @ self._positions,
            quat_normalize(_mean_quaternion(self._quaternions, weights, reference.quaternion)),
        )
        spin = quat_multiply(pose.quaternion, quat_conjugate(self._pose.quaternion))
        setpoint = Setpoint(
            pose,
            gripper,
            (pose.position - self._pose.position) / self._dt,
            rotvec_from_quat(spin) / self._dt,
        )
        self._pose = pose
        return setpoint


def _mean_quaternion(quaternions: Array, weights: Array, centre: Array) -> Array:
    """Weighted mean of (N, 4) quaternions in the tangent space at ``centre`` (4,)."""
    x, y, z, w = quat_conjugate(centre)
    left = np.array([[w, -z, y, x], [z, w, -x, y], [-y, x, w, z], [-x, -y, -z, w]])
    relative = quaternions @ left.T
    relative[relative[:, 3] < 0.0] *= -1.0
    sine = np.sqrt(np.square(relative[:, :3]).sum(axis=1))
    scale = np.where(
        sine < 1e-9, 2.0, 2.0 * np.arctan2(sine, relative[:, 3]) / np.maximum(sine, 1e-12)
    )
    return quat_multiply(centre, quat_from_rotvec((weights * scale) @ relative[:, :3]))


class Trajectory:
    """Path and smoother together: push targets, take one setpoint a cycle."""

    def __init__(
        self,
        pose: Pose,
        gripper: float,
        period_s: float,
        dt: float,
        limits: MotionLimits | None = None,
    ) -> None:
        """Stand still at ``pose``.

        Args:
            pose: where the arm is commanded to be now.
            gripper: opening commanded now (1 = open).
            period_s: control period, the time given to reach each target.
            dt: length of the robot's cycle [s].
            limits: motion limits, the documented defaults if None.
        """
        limits = limits or MotionLimits()
        self._path = ReferencePath(pose, gripper, limits, period_s)
        self._smoother = Smoother(pose, limits, dt)
        self._dt = dt

    @property
    def newest(self) -> Waypoint:
        """The last target pushed: what the next action is a step from."""
        return self._path.newest

    def push(self, waypoint: Waypoint) -> None:
        """Queue a target; see :meth:`ReferencePath.push`."""
        self._path.push(waypoint)

    def hold(self) -> None:
        """Come to rest within the limits and forget every target."""
        self._path.hold()

    def step(self, now_s: float) -> Setpoint:
        """The setpoint of the cycle that starts at ``now_s``; call it once every ``dt``."""
        return self._smoother.step(*self._path.step(now_s, self._dt))
