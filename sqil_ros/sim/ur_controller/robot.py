# SPDX-License-Identifier: Apache-2.0
"""What a running program can reach: registers, the arm, the safety system, the watchdog."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sqil_ros.sim.ur_controller.arm import Arm
from sqil_ros.sim.ur_controller.registers import Registers
from sqil_ros.sim.ur_controller.safety_state import SafetyState
from sqil_ros.sim.ur_controller.watchdog import Watchdog
from sqil_ros.types import Array


@dataclass
class Robot:
    """The controller's own state, shared by its parts; one thread only.

    Attributes:
        arm: commanded side.
        safety: safety and robot mode.
        step_time: control cycle [s].
        registers: RTDE inputs and outputs.
        watchdog: RTDE watchdog.
        now: monotonic time [s] of the present cycle.
        q: (6,) measured joint angles [rad].
        qd: (6,) measured joint speeds [rad/s].
        wrench: (6,) measured force [N] and torque [Nm] at the TCP in ``base``.
    """

    arm: Arm
    safety: SafetyState
    step_time: float
    registers: Registers = field(default_factory=Registers)
    watchdog: Watchdog = field(default_factory=Watchdog)
    now: float = 0.0
    q: Array = field(default_factory=lambda: np.zeros(6))
    qd: Array = field(default_factory=lambda: np.zeros(6))
    wrench: Array = field(default_factory=lambda: np.zeros(6))
