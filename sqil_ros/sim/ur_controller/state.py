# SPDX-License-Identifier: Apache-2.0
"""The robot's state as RTDE output fields, filled anew every cycle."""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np

from sqil_ros.geometry import vector_from_pose
from sqil_ros.kinematics import forward, jacobian
from sqil_ros.sim.ur_controller.fields import OUTPUTS
from sqil_ros.sim.ur_controller.robot import Robot
from sqil_ros.sim.ur_controller.rtde_protocol import Value
from sqil_ros.sim.ur_controller.safety_state import RobotMode
from sqil_ros.sim.ur_controller.signals import Signals
from sqil_ros.types import Array

_POWER_ON = 1 << 0
_PROGRAM_RUNNING = 1 << 1
_POWER_BUTTON = 1 << 3
_JOINT_RUNNING = 253
_JOINT_POWER_OFF = 239
_CONSTANT: dict[str, Value] = {
    'joint_temperatures': (25.0,) * 6,
    'actual_main_voltage': 48.0,
    'actual_robot_voltage': 48.0,
    'actual_robot_current': 1.0,
    'actual_joint_voltage': (48.0,) * 6,
    'actual_tool_accelerometer': (0.0, 0.0, 9.81),
    'tool_temperature': 25.0,
}


class RuntimeState(IntEnum):
    """RTDE ``runtime_state``."""

    STOPPING = 0
    STOPPED = 1
    PLAYING = 2
    PAUSING = 3
    PAUSED = 4
    RESUMING = 5


class StateWriter:
    """Keeps the RTDE outputs of a robot up to date.

    Attributes:
        fields: every output field; one dictionary for the life of the controller.
        tcp_speed: (6,) measured twist of the TCP in ``base``.
    """

    def __init__(self, robot: Robot) -> None:
        """Fill in the fields that the emulator does not model, once."""
        self.fields: dict[str, Value] = {name: kind.zero for name, kind in OUTPUTS.items()}
        self.fields.update(_CONSTANT)
        self.tcp_speed = np.zeros(6)
        self._robot = robot
        self._written_for = b''
        self._written_tcp = robot.arm.tcp

    def update(self, time: float, runtime: RuntimeState, signals: Signals, load: float) -> None:
        """Write the state of one cycle.

        Args:
            time: seconds since the controller started.
            runtime: state of the program.
            signals: output signals.
            load: execution time of the last cycle [ms].
        """
        robot, arm, fields = self._robot, self._robot.arm, self.fields
        fields.update(robot.registers.outputs)
        self._write_motion()
        powered = robot.safety.robot_mode is not RobotMode.POWER_OFF
        running = robot.safety.robot_mode is RobotMode.RUNNING
        force = robot.wrench
        fields['timestamp'] = time
        fields['actual_execution_time'] = load
        fields['target_qdd'] = _tuple(arm.qdd)
        fields['actual_TCP_force'] = fields['ft_raw_wrench'] = _tuple(force)
        fields['tcp_force_scalar'] = math.sqrt(float(force[:3] @ force[:3]))
        fields['robot_mode'] = int(robot.safety.robot_mode)
        fields['safety_mode'] = fields['safety_status'] = int(robot.safety.mode)
        fields['safety_status_bits'] = robot.safety.status_bits
        fields['joint_mode'] = (_JOINT_RUNNING if running else _JOINT_POWER_OFF,) * 6
        fields['runtime_state'] = int(runtime)
        fields['robot_status_bits'] = (
            _POWER_ON * powered
            | _PROGRAM_RUNNING * (runtime is RuntimeState.PLAYING)
            | _POWER_BUTTON * powered
        )
        fields['speed_scaling'] = arm.speed_scaling
        fields['target_speed_fraction'] = signals.slider
        fields['actual_digital_output_bits'] = signals.digital
        fields['standard_analog_output0'], fields['standard_analog_output1'] = signals.analog
        fields['payload'] = float(arm.payload[0])
        fields['payload_cog'] = _tuple(arm.payload[1:4])

    def _write_motion(self) -> None:
        """Joints and TCP; the kinematics are skipped while nothing changes."""
        robot, arm, fields = self._robot, self._robot.arm, self.fields
        now = b''.join(a.tobytes() for a in (robot.q, robot.qd, arm.q, arm.qd))
        if now == self._written_for and arm.tcp is self._written_tcp:
            return
        self._written_for, self._written_tcp = now, arm.tcp
        # One Jacobian serves both: the command is at most a few hundredths of a radian ahead.
        twists = jacobian(arm.model, robot.q, arm.tcp) @ np.column_stack([robot.qd, arm.qd])
        self.tcp_speed = twists[:, 0]
        fields['actual_q'], fields['actual_qd'] = _tuple(robot.q), _tuple(robot.qd)
        fields['target_q'], fields['target_qd'] = _tuple(arm.q), _tuple(arm.qd)
        fields['actual_TCP_pose'] = _tuple(vector_from_pose(forward(arm.model, robot.q, arm.tcp)))
        fields['target_TCP_pose'] = _tuple(vector_from_pose(arm.pose()))
        fields['actual_TCP_speed'] = _tuple(self.tcp_speed)
        fields['target_TCP_speed'] = _tuple(twists[:, 1])
        fields['tcp_offset'] = _tuple(vector_from_pose(arm.tcp))


def _tuple(values: Array) -> tuple[float, ...]:
    return tuple(values.tolist())
