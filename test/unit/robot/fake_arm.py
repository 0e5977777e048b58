# SPDX-License-Identifier: Apache-2.0
"""An arm without a controller: it is where it was last told to be."""

from __future__ import annotations

import dataclasses

import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.geometry import base_link_from_base
from sqil_ros.kinematics import UR5E, forward
from sqil_ros.robot.driver import Sample
from sqil_ros.types import Pose

CONTRACT = Contract.load()
HOME = np.array(CONTRACT.home)


class FakeArm:
    """Records what it is told; ``change`` fields of the sample to play a fault."""

    def __init__(self) -> None:
        self.program_loaded = False
        self.log: list[str] = []
        self.sent: list[Pose] = []
        self.now = Sample(
            age_s=0.0,
            connected=True,
            joints=HOME,
            joint_speeds=np.zeros(6),
            tcp=base_link_from_base(forward(UR5E, HOME, CONTRACT.tcp)),
            twist=np.zeros(6),
            wrench=np.zeros(6),
            robot_mode=7,
            safety_mode=1,
            runtime_state=1,
        )

    def change(self, **fields: object) -> None:
        self.now = dataclasses.replace(self.now, **fields)

    def sample(self, now_s: float) -> Sample:
        return self.now

    def start_program(self) -> None:
        self.log.append('start')
        self.program_loaded = True
        self.change(runtime_state=2)

    def servo(self, pose: Pose) -> bool:
        self.sent.append(pose)
        self.change(tcp=pose)
        return True

    def kick(self) -> None:
        self.log.append('kick')

    def brake(self) -> None:
        self.log.append('brake')

    def end_program(self) -> None:
        if self.program_loaded:
            self.log.append('end')
        self.program_loaded = False
        self.change(runtime_state=1)

    def move_home(self) -> None:
        self.log.append('home')

    def stop_moving(self) -> None:
        self.log.append('stop_moving')
