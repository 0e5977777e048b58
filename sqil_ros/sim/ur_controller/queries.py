# SPDX-License-Identifier: Apache-2.0
"""Commands of the control program that ask or set something without moving the arm."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sqil_ros.geometry import compose, pose_from_vector, vector_from_pose
from sqil_ros.kinematics import FLANGE, forward, inverse_near
from sqil_ros.sim.ur_controller.motion import JOINT_LIMIT, require_finite, solve
from sqil_ros.types import Array

if TYPE_CHECKING:
    from sqil_ros.sim.ur_controller.control_program import ControlProgram

Query = Callable[['ControlProgram'], None]


def set_payload(program: ControlProgram) -> None:
    """17, 65: double 0 mass [kg], 1-3 centre of gravity [m]."""
    program.robot.arm.payload = require_finite(program.read_doubles(0, 4), 'Payload')


def set_tcp(program: ControlProgram) -> None:
    """29: doubles 0-5 tool centre point seen from the flange."""
    offset = require_finite(program.read_doubles(0, 6), 'TCP offset')
    program.robot.arm.tcp = pose_from_vector(offset)


def get_tcp(program: ControlProgram) -> None:
    """40."""
    program.write_doubles(0, vector_from_pose(program.robot.arm.tcp))


def tool_contact(program: ControlProgram) -> None:
    """25, 54, 63, 64: no contact, no free drive."""
    program.write_int(1, 0)


def step_time(program: ControlProgram) -> None:
    """26."""
    program.write_doubles(0, np.array([program.robot.step_time]))


def joint_history(program: ControlProgram) -> None:
    """27: the present joint angles; no history is kept."""
    program.write_doubles(0, program.robot.q)


def target_waypoint(program: ControlProgram) -> None:
    """28: the commanded pose."""
    program.write_doubles(0, vector_from_pose(program.robot.arm.pose()))


def inverse_kinematics(program: ControlProgram) -> None:
    """46: doubles 0-5 pose, nearest to the present joints; no solution ends the program."""
    arm = program.robot.arm
    program.write_doubles(0, solve(arm, pose_from_vector(program.read_doubles(0, 6)), arm.q))


def inverse_kinematics_near(program: ControlProgram) -> None:
    """30: the same with the seed in doubles 6-11."""
    pose = pose_from_vector(program.read_doubles(0, 6))
    program.write_doubles(0, solve(program.robot.arm, pose, program.read_doubles(6, 6)))


def has_solution(program: ControlProgram) -> None:
    """60, 36: whether the pose in doubles 0-5 can be reached from the present joints."""
    _write_reachable(program, program.robot.arm.q)


def has_solution_near(program: ControlProgram) -> None:
    """61: the same from the seed in doubles 6-11."""
    _write_reachable(program, program.read_doubles(6, 6))


def _write_reachable(program: ControlProgram, seed: Array) -> None:
    arm, vector = program.robot.arm, program.read_doubles(0, 6)
    finite = bool(np.isfinite(vector).all() and np.isfinite(seed).all())
    q = inverse_near(arm.model, pose_from_vector(vector), seed, arm.tcp) if finite else None
    program.write_int(1, int(q is not None and bool(np.abs(q).max() <= JOINT_LIMIT)))


def joints_within_limits(program: ControlProgram) -> None:
    """37: doubles 0-5."""
    program.write_int(1, int(bool(np.abs(program.read_doubles(0, 6)).max() <= JOINT_LIMIT)))


def set_watchdog(program: ControlProgram) -> None:
    """35: double 0 minimum frequency [Hz] of writes to the command register."""
    robot, name = program.robot, f'input_int_register_{program.text.offset}'
    robot.watchdog.arm(name, program.read_double(0), robot.now)


def pose_trans(program: ControlProgram) -> None:
    """39: doubles 0-5 and 6-11 poses; the second seen through the first."""
    first, second = program.read_doubles(0, 6), program.read_doubles(6, 6)
    placed = compose(pose_from_vector(first), pose_from_vector(second))
    program.write_doubles(0, vector_from_pose(placed))


def forward_kinematics(program: ControlProgram) -> None:
    """43: the present pose."""
    arm = program.robot.arm
    program.write_doubles(0, vector_from_pose(forward(arm.model, program.robot.q, arm.tcp)))


def forward_kinematics_of(program: ControlProgram) -> None:
    """44: doubles 0-5 joints, 6-11 TCP offset."""
    q, offset = program.read_doubles(0, 6), pose_from_vector(program.read_doubles(6, 6))
    program.write_doubles(0, vector_from_pose(forward(program.robot.arm.model, q, offset)))


def is_steady(program: ControlProgram) -> None:
    """47."""
    robot = program.robot
    program.write_int(1, int(robot.arm.at_rest and bool(np.abs(robot.qd).max() < 1e-3)))


def flange_pose(program: ControlProgram) -> None:
    """58."""
    robot = program.robot
    program.write_doubles(0, vector_from_pose(forward(robot.arm.model, robot.q, FLANGE)))


def six_zeros(program: ControlProgram) -> None:
    """38, 68: joint torques are not modelled."""
    program.write_doubles(0, np.zeros(6))


def joint_accelerations(program: ControlProgram) -> None:
    """69: of the joint command."""
    program.write_doubles(0, program.robot.arm.qdd)


def jacobian(program: ControlProgram) -> None:
    """70: column by column, 24 values in doubles 0-23 and 12 in 36-47."""
    _write_matrix(program, program.robot.arm.jacobian())


def dynamics_matrix(program: ControlProgram) -> None:
    """67, 71: mass matrix and Jacobian rate are not modelled."""
    _write_matrix(program, np.zeros((6, 6)))


def _write_matrix(program: ControlProgram, matrix: Array) -> None:
    # The two ranges are absolute: such programs always run without a register offset.
    columns = matrix.T.ravel()
    program.write_doubles(0, columns[:24])
    program.write_doubles(36, columns[24:])


QUERY_COMMANDS: dict[int, Query] = {
    17: set_payload,
    25: tool_contact,
    26: step_time,
    27: joint_history,
    28: target_waypoint,
    29: set_tcp,
    30: inverse_kinematics_near,
    35: set_watchdog,
    36: has_solution,
    37: joints_within_limits,
    38: six_zeros,
    39: pose_trans,
    40: get_tcp,
    43: forward_kinematics,
    44: forward_kinematics_of,
    46: inverse_kinematics,
    47: is_steady,
    54: tool_contact,
    58: flange_pose,
    60: has_solution,
    61: has_solution_near,
    63: tool_contact,
    64: tool_contact,
    65: set_payload,
    67: dynamics_matrix,
    68: six_zeros,
    69: joint_accelerations,
    70: jacobian,
    71: dynamics_matrix,
}
