# SPDX-License-Identifier: Apache-2.0
"""RTDE watchdog: the program must hear from its client often enough, or it is stopped."""

from __future__ import annotations

import math

from sqil_ros.sim.ur_controller.registers import Registers


class Watchdog:
    """Watches one input variable; only the end of the program disarms it.

    Attributes:
        trips: how often it has stopped a program.
    """

    def __init__(self) -> None:
        self.trips = 0
        self._name = ''
        self._patience = math.inf
        self._armed_at = 0.0

    def arm(self, name: str, min_frequency: float, now: float) -> None:
        """Demand a write to input ``name`` at least ``min_frequency`` [Hz] often; 0 disarms."""
        self._name, self._armed_at = name, now
        self._patience = 1.0 / min_frequency if min_frequency > 0.0 else math.inf

    def disarm(self) -> None:
        """Watch nothing."""
        self._patience = math.inf

    def expired(self, registers: Registers, now: float) -> bool:
        """Whether the variable was silent for too long; counts a trip and disarms."""
        heard = max(registers.written_at.get(self._name, self._armed_at), self._armed_at)
        if now - heard <= self._patience:
            return False
        self.trips += 1
        self.disarm()
        return True
