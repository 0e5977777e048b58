# SPDX-License-Identifier: Apache-2.0
"""The simulated arm in one process: the same filter, trajectory and servo law as over ROS.

Fast evaluation and data collection run on this; ``test/ros`` shows that it and the ROS graph
lead to the same success.
"""

from __future__ import annotations

import numpy as np

from sqil_ros.contract import Contract, state_from_pose
from sqil_ros.errors import RobotFault
from sqil_ros.geometry import base_from_base_link
from sqil_ros.kinematics import ARMS, inverse_near
from sqil_ros.safety import FilterMemory, SafetyContext, SafetyLimits, Verdict, filter_action
from sqil_ros.sim.limits import TABLE_Z, WORKSPACE
from sqil_ros.sim.servo import ServoFilter
from sqil_ros.sim.toy_sink import ToySink
from sqil_ros.trajectory import Trajectory, Waypoint
from sqil_ros.types import Action, Observation, Pose

_CYCLE_S = 0.02


class SimulatedArm:
    """A toy sink whose arm takes 5 Hz actions."""

    def __init__(self, scene: ToySink) -> None:
        """Drive the arm of ``scene``; call :meth:`reset` before anything else."""
        self.scene = scene
        self._contract: Contract = scene.contract
        self._model = ARMS[self._contract.robot]
        self._cycles = round(self._contract.period_s / _CYCLE_S)
        self._limits = SafetyLimits.for_contract(
            self._contract, workspace=WORKSPACE, table_z=TABLE_Z
        )

    def reset(self, seed: int) -> None:
        """Start an episode: objects at the seed's places, arm at home, gripper open."""
        self.scene.reset(seed)
        self._now_s = 0.0
        self._q, _ = self.scene.joints()
        self._servo = ServoFilter(self._q)
        self._trajectory = Trajectory(
            self.scene.tcp(), 1.0, self._contract.period_s, _CYCLE_S, self._limits.motion
        )
        self._memory = FilterMemory.fresh(1.0)

    @property
    def command(self) -> Pose:
        """Newest commanded TCP target in ``base_link``."""
        return self._trajectory.newest.pose

    @property
    def gripper_command(self) -> float:
        """Opening commanded last, 1 = open."""
        return self._trajectory.newest.gripper

    def observe(self, instruction: str) -> Observation:
        """What a policy sees now."""
        return Observation(
            self.scene.render(),
            state_from_pose(self._contract, self.scene.tcp(), self.scene.gripper_opening()),
            state_from_pose(self._contract, self.command, self.gripper_command),
            instruction,
            round(self._now_s * 1e9),
        )

    def step(self, action: Action) -> None:
        """Carry out ``action``, which was decided on the present observation.

        Raises:
            RobotFault: the filter stopped the arm, or a target is out of its reach.
        """
        result = filter_action(
            action,
            SafetyContext(self._now_s, self.command, self.scene.tcp(), self.scene.joints()[0]),
            self._memory,
            self._limits,
        )
        self._memory = result.memory
        if result.verdict is Verdict.STOP:
            raise RobotFault(result.message)
        if result.accepted:
            start_s = self._now_s + self._contract.action_delay_s
            self._trajectory.push(Waypoint(start_s, result.target, result.gripper))
        for _ in range(self._cycles):
            self._cycle()

    def _cycle(self) -> None:
        setpoint = self._trajectory.step(self._now_s)
        pose = base_from_base_link(setpoint.pose)
        q = inverse_near(self._model, pose, self._q, self._contract.tcp, tolerance=1e-6)
        if q is None:
            raise RobotFault(
                f'No joint angles reach {np.round(setpoint.pose.position, 3).tolist()} m from '
                'where the arm stands; keep targets inside the workspace.'
            )
        self._q = q
        self.scene.step(self._servo.step(q, _CYCLE_S), setpoint.gripper, _CYCLE_S)
        self._now_s += _CYCLE_S
