# SPDX-License-Identifier: Apache-2.0
"""Targets in, one smooth setpoint a cycle out to arm and gripper."""

from __future__ import annotations

import numpy as np

from sqil_ros.robot.driver import ArmDriver
from sqil_ros.robot.protocol import Target, pose_from_vector7
from sqil_ros.robot.robotiq import Gripper, NoGripper
from sqil_ros.robot.settings import WorkerSettings
from sqil_ros.trajectory import Setpoint, Trajectory, Waypoint
from sqil_ros.types import Pose


class Follower:
    """A trajectory that begins where the arm is, and is thrown away whenever the arm is braked.

    Attributes:
        epoch: grows whenever targets made before are void.
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
        self._waiting: Target | None = None
        self._velocity = np.zeros(3)
        self._approach = np.zeros(3)

    @property
    def active(self) -> bool:
        """Whether there is a trajectory."""
        return self._trajectory is not None

    @property
    def newest(self) -> Pose | None:
        """The newest target."""
        return None if self._trajectory is None else self._trajectory.newest.pose

    def begin(self, pose: Pose) -> None:
        """Begin at ``pose``, at rest; every target made before is void."""
        self.epoch += 1
        self._waiting = None
        self.resume(pose)

    def resume(self, pose: Pose) -> None:
        """Go on from ``pose``, at rest, to the target that has come in meanwhile."""
        limits = self._settings.limits
        self._trajectory = Trajectory(
            pose,
            self.gripper_target,
            1.0 / limits.rate_hz,
            1.0 / self._settings.rate_hz,
            limits.motion,
        )
        if self._waiting is not None:
            self.take(self._waiting)
            self._waiting = None

    def take(self, target: Target) -> None:
        """Queue a target of this epoch; while the arm is braked the newest one waits."""
        if target.epoch != self.epoch:
            return
        if self._trajectory is None:
            self._waiting = target
        else:
            self._trajectory.push(
                Waypoint(target.start_s, pose_from_vector7(target.pose), target.gripper)
            )

    def retreats(self, measured: Pose) -> bool:
        """Whether the newest target leads back from what the arm was braked at."""
        if self._waiting is not None:
            goal = pose_from_vector7(self._waiting.pose)
        elif self._trajectory is not None:
            goal = self._trajectory.newest.pose
        else:
            return False
        return float((goal.position - measured.position) @ self._approach) < 0.0

    def free(self) -> None:
        """Nothing is touched any more."""
        self._approach = np.zeros(3)

    def step(self, now_s: float) -> Setpoint | None:
        """Setpoint of this cycle."""
        if self._trajectory is None:
            return None
        setpoint = self._trajectory.step(now_s)
        self._velocity = setpoint.linear_velocity
        return setpoint

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
        """Come to rest at once; targets must be made anew from where the arm stands then."""
        if self._trajectory is None:
            return
        self._approach, self._velocity = self._velocity, np.zeros(3)
        self._trajectory = None
        self.epoch += 1
        self._arm.brake()

    def forget(self) -> None:
        """Follow nothing any more; the arm has been seen to."""
        self._trajectory = self._waiting = None
