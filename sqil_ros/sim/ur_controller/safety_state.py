# SPDX-License-Identifier: Apache-2.0
"""Safety mode and robot mode: what stops the arm and what lets it go again."""

from __future__ import annotations

from enum import IntEnum


class SafetyMode(IntEnum):
    """RTDE ``safety_mode``."""

    NORMAL = 1
    REDUCED = 2
    PROTECTIVE_STOP = 3
    RECOVERY = 4
    SAFEGUARD_STOP = 5
    SYSTEM_EMERGENCY_STOP = 6
    ROBOT_EMERGENCY_STOP = 7
    VIOLATION = 8
    FAULT = 9


class RobotMode(IntEnum):
    """RTDE ``robot_mode``."""

    NO_CONTROLLER = -1
    DISCONNECTED = 0
    CONFIRM_SAFETY = 1
    BOOTING = 2
    POWER_OFF = 3
    POWER_ON = 4
    IDLE = 5
    BACKDRIVE = 6
    RUNNING = 7


_STATUS_BITS = {
    SafetyMode.NORMAL: 1 << 0,
    SafetyMode.REDUCED: 1 << 0 | 1 << 1,
    SafetyMode.PROTECTIVE_STOP: 1 << 2 | 1 << 10,
    SafetyMode.RECOVERY: 1 << 3,
    SafetyMode.SAFEGUARD_STOP: 1 << 4 | 1 << 10,
    SafetyMode.SYSTEM_EMERGENCY_STOP: 1 << 5 | 1 << 7 | 1 << 10,
    SafetyMode.ROBOT_EMERGENCY_STOP: 1 << 6 | 1 << 7 | 1 << 10,
    SafetyMode.VIOLATION: 1 << 8 | 1 << 10,
    SafetyMode.FAULT: 1 << 9 | 1 << 10,
}


class SafetyState:
    """The safety system as a client sees it. The stops only pause the program.

    Attributes:
        mode: safety mode.
        robot_mode: power and brakes.
        unlock_delay: seconds for which a protective stop refuses to be unlocked (a real
            controller: 5).
        reason: why the robot stopped last.
    """

    def __init__(self, unlock_delay: float = 0.0) -> None:
        self.mode = SafetyMode.NORMAL
        self.robot_mode = RobotMode.RUNNING
        self.unlock_delay = unlock_delay
        self.reason = ''
        self._stopped_at = 0.0

    @property
    def operational(self) -> bool:
        """Whether the arm may move."""
        return (
            self.mode in (SafetyMode.NORMAL, SafetyMode.REDUCED)
            and self.robot_mode is RobotMode.RUNNING
        )

    @property
    def emergency_stopped(self) -> bool:
        """Whether an emergency stop is active."""
        return self.mode in (SafetyMode.SYSTEM_EMERGENCY_STOP, SafetyMode.ROBOT_EMERGENCY_STOP)

    @property
    def status_bits(self) -> int:
        """RTDE ``safety_status_bits``."""
        return _STATUS_BITS[self.mode]

    def protective_stop(self, now: float, reason: str) -> None:
        """Stop with power on (category 2); weaker than an emergency stop in force."""
        if not self.emergency_stopped:
            self.mode, self.reason, self._stopped_at = SafetyMode.PROTECTIVE_STOP, reason, now

    def emergency_stop(self, reason: str) -> None:
        """Press the robot's emergency stop: the arm brakes and loses power."""
        self.mode, self.reason = SafetyMode.ROBOT_EMERGENCY_STOP, reason
        self.robot_mode = RobotMode.POWER_OFF

    def unlock(self, now: float) -> bool:
        """Unlock a protective stop; False while its delay has not passed."""
        if self.mode is SafetyMode.PROTECTIVE_STOP:
            if now - self._stopped_at < self.unlock_delay:
                return False
            self.mode = SafetyMode.NORMAL
        return True

    def release(self) -> None:
        """End any stop as a hand at the pendant does; after an emergency stop power stays off."""
        self.mode = SafetyMode.NORMAL

    def restart(self) -> None:
        """Restart the safety system after a fault or violation; power is off afterwards."""
        if self.mode in (SafetyMode.VIOLATION, SafetyMode.FAULT):
            self.mode, self.robot_mode = SafetyMode.NORMAL, RobotMode.POWER_OFF

    def power_on(self) -> None:
        """Power the arm, brakes still closed; refused under an emergency stop."""
        if not self.emergency_stopped and self.robot_mode is RobotMode.POWER_OFF:
            self.robot_mode = RobotMode.IDLE

    def power_off(self) -> None:
        """Take the arm's power."""
        self.robot_mode = RobotMode.POWER_OFF

    def brake_release(self) -> None:
        """Open the brakes, which also powers an arm that was off."""
        if not self.emergency_stopped:
            self.robot_mode = RobotMode.RUNNING
