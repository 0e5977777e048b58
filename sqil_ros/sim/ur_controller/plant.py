# SPDX-License-Identifier: Apache-2.0
"""What the controller's joint commands act on: an ideal arm, or the toy sink's physics."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from sqil_ros.errors import SceneError
from sqil_ros.types import Array

PLANTS = ('kinematic', 'toy_sink')


class Plant(Protocol):
    """A robot arm with a gripper and whatever surrounds it."""

    def step(self, q_command: Array, gripper_opening_command: float, dt: float) -> None:
        """Let ``dt`` seconds pass under (6,) joint commands [rad] and an opening 0..1."""

    def joints(self) -> tuple[Array, Array]:
        """Measured joint angles [rad] and speeds [rad/s], (6,) each."""

    def gripper_opening(self) -> float:
        """Measured opening, 1 = open."""

    def gripper_object_detected(self) -> bool:
        """Whether something stopped the fingers."""

    def tcp_wrench(self) -> Array:
        """(6,) force [N] and torque [Nm] on the tool in UR's ``base``."""

    def reset(self, seed: int, task: str, variation: str) -> None:
        """Prepare the surroundings for an episode; the arm stays where it is.

        Raises:
            SceneError: unknown task or variation.
        """

    def success(self) -> dict[str, Any]:
        """How the judge sees the episode."""

    def snapshot(self) -> dict[str, Any]:
        """``time`` [s] and ``qpos``, enough for a renderer elsewhere to draw the scene."""


class KinematicPlant:
    """An arm that follows its commands with a short first-order lag, and an empty gripper."""

    _LAG_S = 0.005
    _GRIPPER_SPEED = 1.0 / 0.6

    def __init__(self, home: Array) -> None:
        """Stand still at the (6,) joint angles ``home`` [rad]."""
        self._q = np.array(home, dtype=float)
        self._qd = np.zeros(6)
        self._opening = 1.0
        self._time = 0.0

    def step(self, q_command: Array, gripper_opening_command: float, dt: float) -> None:
        """See :class:`Plant`."""
        missing = q_command - self._q
        # Arriving for good, so that an arm at rest costs no kinematics.
        near = bool((np.abs(missing) < 1e-9).all())
        moved = missing if near else missing * -math.expm1(-dt / self._LAG_S)
        self._q = self._q + moved
        self._qd = moved / dt
        travel = self._GRIPPER_SPEED * dt
        self._opening += min(max(gripper_opening_command - self._opening, -travel), travel)
        self._time += dt

    def joints(self) -> tuple[Array, Array]:
        """See :class:`Plant`."""
        return self._q, self._qd

    def gripper_opening(self) -> float:
        """See :class:`Plant`."""
        return self._opening

    def gripper_object_detected(self) -> bool:
        """See :class:`Plant`."""
        return False

    def tcp_wrench(self) -> Array:
        """See :class:`Plant`."""
        return np.zeros(6)

    def reset(self, seed: int, task: str, variation: str) -> None:
        """See :class:`Plant`."""
        raise SceneError('The kinematic plant has no scene; start with --plant toy_sink.')

    def success(self) -> dict[str, Any]:
        """See :class:`Plant`."""
        return {'task': '', 'success': False}

    def snapshot(self) -> dict[str, Any]:
        """See :class:`Plant`."""
        return {'time': self._time, 'qpos': self._q.tolist()}
