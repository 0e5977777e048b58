# SPDX-License-Identifier: Apache-2.0
"""Targets in, one smooth setpoint a cycle out to arm and gripper."""

from __future__ import annotations

from sqil_ros.robot.driver import ArmDriver
from sqil_ros.robot.protocol import Target, pose_from_vector7
from sqil_ros.robot.robotiq import Gripper, NoGripper
from sqil_ros.robot.settings import WorkerSettings
from sqil_ros.trajectory import Setpoint, Trajectory, Waypoint
from sqil_ros.types import Pose


class Follower:
    """A trajectory that begins where the arm is, and is thrown away whenever the arm is braked.

    Attributes:
        epoch: grows with every new beginning; a target of an older epoch is void.
        gripper_target: opening commanded last.
    """

    def __init__(
        self, arm: ArmDriver, gripper: Gripper | NoGripper, settings: WorkerSettings
    ) -> None:
        """Follow nothing yet."""
        self.epoch = 0
        self.gripper_target = gripper.opening
        self._arm = arm
        self._gripper = gripper
        self._settings = settings
        self._trajectory: Trajectory | None = None

    @property
    def active(self) -> bool:
        """Whether there is a trajectory."""
        return self._trajectory is not None

    @property
    def newest(self) -> Pose | None:
        """The newest target."""
        return None if self._trajectory is None else self._trajectory.newest.pose

    def begin(self, pose: Pose) -> None:
        """Begin anew at ``pose``, at rest."""
        limits = self._settings.limits
        self.epoch += 1
        self._trajectory = Trajectory(
            pose,
            self.gripper_target,
            1.0 / limits.rate_hz,
            1.0 / self._settings.rate_hz,
            limits.motion,
        )

    def take(self, target: Target) -> None:
        """Queue a target of this epoch."""
        if target.epoch == self.epoch and self._trajectory is not None:
            self._trajectory.push(
                Waypoint(target.start_s, pose_from_vector7(target.pose), target.gripper)
            )

    def step(self, now_s: float) -> Setpoint | None:
        """Setpoint of this cycle."""
        return None if self._trajectory is None else self._trajectory.step(now_s)

    def send(self, setpoint: Setpoint, dry_run: bool) -> bool:
        """Pass a setpoint on; False when the controller did not take it."""
        # Only changes are commanded: an armed gripper keeps its grip until the policy says more.
        if setpoint.gripper != self.gripper_target:
            self.gripper_target = setpoint.gripper
            if not dry_run:
                self._gripper.command(setpoint.gripper)
        return dry_run or self._arm.servo(setpoint.pose)

    def open_gripper(self) -> None:
        """Open it now."""
        self.gripper_target = 1.0
        self._gripper.command(1.0)

    def hold(self) -> None:
        """Come to rest along the trajectory."""
        if self._trajectory is not None:
            self._trajectory.hold()

    def brake(self) -> None:
        """Come to rest at once."""
        if self._trajectory is not None:
            self._trajectory = None
            self._arm.brake()

    def forget(self) -> None:
        """Follow nothing any more; the arm has been seen to."""
        self._trajectory = None
