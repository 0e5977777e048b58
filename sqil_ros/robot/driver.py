# SPDX-License-Identifier: Apache-2.0
"""What the worker's logic needs of an arm, so that tests can put another one behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sqil_ros.types import Array, Pose


@dataclass(frozen=True)
class Sample:
    """One reading of the controller, in ``base_link``.

    Attributes:
        age_s: since the controller's own time last advanced.
        connected: whether the link is up.
        joints, joint_speeds: (6,) rad, rad/s.
        tcp: measured pose.
        twist: (6,) m/s, rad/s.
        wrench: (6,) N, Nm.
        robot_mode, safety_mode, runtime_state: as RTDE numbers them.
    """

    age_s: float
    connected: bool
    joints: Array
    joint_speeds: Array
    tcp: Pose
    twist: Array
    wrench: Array
    robot_mode: int
    safety_mode: int
    runtime_state: int


class ArmDriver(Protocol):
    """A controller that can be read, streamed to, braked and homed."""

    @property
    def program_loaded(self) -> bool:
        """Whether a control program of ours was started and not ended by us."""

    def sample(self, now_s: float) -> Sample:
        """Read the newest state."""

    def start_program(self) -> None:
        """Upload the control program, set TCP and payload, arm the watchdog.

        Raises:
            RobotFault: the controller refuses.
        """

    def servo(self, pose: Pose) -> bool:
        """Stream one setpoint in ``base_link``; False when the controller does not take it."""

    def kick(self) -> None:
        """Tell the watchdog that we live while nothing is streamed."""

    def brake(self) -> None:
        """Decelerate to rest; the program goes on."""

    def end_program(self) -> None:
        """Stop the program, so that nothing can move the arm before a new one is uploaded."""

    def move_home(self) -> None:
        """Begin to move to the home joints.

        Raises:
            RobotFault: the controller refuses.
        """

    def stop_moving(self) -> None:
        """Break off :meth:`move_home`."""
