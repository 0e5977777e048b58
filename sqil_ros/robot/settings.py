# SPDX-License-Identifier: Apache-2.0
"""What the worker must know to drive one robot, and its way through JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from sqil_ros.errors import ParameterError
from sqil_ros.kinematics import ARMS
from sqil_ros.robot.protocol import Vector
from sqil_ros.safety import Box, SafetyLimits
from sqil_ros.trajectory import MotionLimits
from sqil_ros.types import Pose

GRIPPERS = ('robotiq', 'none')


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of the worker process.

    Attributes:
        host: address of the controller.
        limits: figures of the safety checks; its rate is the policy's.
        home: (6,) joints [rad] that homing goes to.
        tcp_offset: flange to TCP as ``x y z rx ry rz``, set at every program start.
        payload_kg, payload_cog: what the flange carries, gripper included; a wrong payload is the
            usual cause of false protective stops.
        rate_hz: cycles a second, 125 or 500.
        state_every: cycles between two states sent to the node.
        home_speed, home_acceleration: of the leading joint [rad/s, rad/s^2].
        servo_lookahead, servo_gain: of servoL.
        brake: deceleration [m/s^2] of every stop.
        watchdog_hz: the controller ends the program when it hears less often from the worker.
        gripper: one of ``GRIPPERS``.
        gripper_force: 0 .. 1.
        probe_s: patience with a host before it counts as unreachable.
        deadman: whether an enabling switch has to be held.
        recover: started by an explicit reset: end an old program and release protective stops.
    """

    host: str
    limits: SafetyLimits
    home: Vector
    tcp_offset: Vector
    payload_kg: float = 1.0
    payload_cog: Vector = (0.0, 0.0, 0.06)
    rate_hz: float = 125.0
    state_every: int = 2
    home_speed: float = 0.5
    home_acceleration: float = 0.8
    servo_lookahead: float = 0.1
    servo_gain: float = 300.0
    brake: float = 4.0
    watchdog_hz: float = 10.0
    gripper: str = 'robotiq'
    gripper_force: float = 0.2
    probe_s: float = 2.0
    deadman: bool = False
    recover: bool = False

    def __post_init__(self) -> None:
        """Check what no range of a parameter does.

        Raises:
            ParameterError: unknown gripper or wrong number of joints.
        """
        if self.gripper not in GRIPPERS:
            raise ParameterError(f'gripper = {self.gripper!r}; it must be one of {GRIPPERS}.')
        for name, length in (('home', 6), ('tcp_offset', 6), ('payload_cog', 3)):
            if len(getattr(self, name)) != length:
                raise ParameterError(f'{name} needs {length} values, got {getattr(self, name)}.')

    def to_json(self) -> str:
        """Text that :meth:`from_json` understands."""
        raw = dataclasses.asdict(self)
        raw['limits']['arm'] = self.limits.arm.name
        raw['limits']['tcp'] = {key: list(value) for key, value in raw['limits']['tcp'].items()}
        return json.dumps(raw)

    @classmethod
    def from_json(cls, text: str) -> WorkerSettings:
        """Inverse of :meth:`to_json`; every limit is checked again."""
        raw = json.loads(text)
        limits = raw['limits']
        limits['arm'] = ARMS[limits['arm']]
        limits['tcp'] = Pose(
            np.array(limits['tcp']['position']), np.array(limits['tcp']['quaternion'])
        )
        limits['motion'] = MotionLimits(**limits['motion'])
        limits['workspace'] = _box(limits['workspace'])
        limits['keep_out'] = tuple(_box(box) for box in limits['keep_out'])
        raw['limits'] = SafetyLimits(**_tuples(limits))
        return cls(**_tuples(raw))


def _box(raw: dict[str, Any] | None) -> Box | None:
    return None if raw is None else Box(tuple(raw['low']), tuple(raw['high']))


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    """JSON knows only lists; every sequence of these settings is a tuple."""

    def convert(value: Any) -> Any:
        return tuple(convert(item) for item in value) if isinstance(value, list) else value

    return {key: convert(value) for key, value in raw.items()}
