# SPDX-License-Identifier: Apache-2.0
"""One way home: when it has ended, and when it takes too long."""

from __future__ import annotations

import numpy as np

from sqil_ros.robot.driver import Sample
from sqil_ros.robot.settings import WorkerSettings
from sqil_ros.types import Array

_ARRIVED_RAD, _STILL_RAD_S = 2e-3, 5e-3
_GRACE_S = 5.0


class Homing:
    """A move to the home joints that the service ``request`` waits for."""

    def __init__(
        self, request: int, settings: WorkerSettings, joints: Array, now_s: float
    ) -> None:
        """Begin at ``joints`` (6,)."""
        self.request = request
        self._home = np.array(settings.home)
        way = float(np.max(np.abs(self._home - joints)))
        # Twice the time at full speed: a speed slider may be down, an obstacle must not be met.
        self._end_s = now_s + 2.0 * way / settings.home_speed + _GRACE_S

    def arrived(self, sample: Sample) -> bool:
        """Whether the arm rests at home."""
        return (
            float(np.max(np.abs(sample.joint_speeds))) < _STILL_RAD_S
            and float(np.max(np.abs(self._home - sample.joints))) < _ARRIVED_RAD
        )

    def overdue(self, now_s: float) -> bool:
        """Whether something must be in the way."""
        return now_s > self._end_s
