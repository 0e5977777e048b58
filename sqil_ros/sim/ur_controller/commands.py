# SPDX-License-Identifier: Apache-2.0
"""Commands of the control program that move the arm, by the number that ur_rtde sends.

Each takes its arguments from the input registers and returns the motion that the program's main
loop must wait for, or None if it is done at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sqil_ros.geometry import pose_from_vector, quat_rotate
from sqil_ros.sim.ur_controller.motion import (
    JointSpeed,
    Motion,
    Servo,
    Stop,
    ToolSpeed,
    require_finite,
    require_joints,
    solve,
)
from sqil_ros.sim.ur_controller.moves import MoveJoints, MoveTool, Path, ToolContact
from sqil_ros.types import Array

if TYPE_CHECKING:
    from sqil_ros.sim.ur_controller.control_program import ControlProgram

Command = Callable[['ControlProgram'], Motion | None]


def _start_move(program: ControlProgram, motion: Motion) -> Motion | None:
    """Run a move in the main loop, or in a thread if the async flag is set."""
    program.kill_thread('move')
    if program.read_int(1) == 1:
        program.run_async('move', motion)
        return None
    return program.run_main(motion)


def move_joints(program: ControlProgram) -> Motion | None:
    """1 moveJ: doubles 0-5 joints, 6 speed, 7 acceleration."""
    target, (speed, acceleration) = program.read_doubles(0, 6), program.read_doubles(6, 2)
    return _start_move(program, MoveJoints(target, speed, acceleration))


def move_joints_to_pose(program: ControlProgram) -> Motion | None:
    """2 moveJ_IK: the same with a pose."""
    arm, (speed, acceleration) = program.robot.arm, program.read_doubles(6, 2)
    target = solve(arm, pose_from_vector(program.read_doubles(0, 6)), arm.q)
    return _start_move(program, MoveJoints(target, speed, acceleration))


def move_tool(program: ControlProgram) -> Motion | None:
    """3 moveL: doubles 0-5 pose, 6 speed, 7 acceleration."""
    pose = pose_from_vector(program.read_doubles(0, 6))
    speed, acceleration = program.read_doubles(6, 2)
    return _start_move(program, MoveTool(pose, speed, acceleration))


def move_tool_to_joints(program: ControlProgram) -> Motion | None:
    """4 moveL_FK: the same to the pose of joint angles."""
    pose = program.robot.arm.pose_at(require_joints(program.read_doubles(0, 6)))
    speed, acceleration = program.read_doubles(6, 2)
    return _start_move(program, MoveTool(pose, speed, acceleration))


def move_path(program: ControlProgram) -> Motion | None:
    """45: the path that was injected into the program."""
    return _start_move(program, Path(program.path(), program.report_progress))


def _servo(program: ControlProgram, target: Array) -> None:
    """Aim the servo thread at joint angles ``target``, starting it if need be."""
    lookahead = float(np.clip(program.read_double(9), 0.03, 0.2))
    running = program.thread_motion('servo')
    if isinstance(running, Servo):
        running.target, running.lookahead = target, lookahead
    else:
        program.run_thread('servo', Servo(target, lookahead))


def servo_joints(program: ControlProgram) -> None:
    """11 servoJ: doubles 0-5 joints, 8 time, 9 lookahead, 10 gain."""
    _servo(program, require_joints(program.read_doubles(0, 6)))


def servo_tool(program: ControlProgram) -> None:
    """24 servoL: the same with a pose; the joints nearest to the present command reach it."""
    _servo(program, program.servo_joints_for(program.read_doubles(0, 6)))


def servo_circular(program: ControlProgram) -> None:
    """12 servoC: approximated by a move in a thread; the client treats it as streaming."""
    pose = pose_from_vector(program.read_doubles(0, 6))
    speed, acceleration = program.read_doubles(6, 2)
    program.run_thread('servo', MoveTool(pose, speed, acceleration))


def servo_stop(program: ControlProgram) -> Motion:
    """16: double 0 deceleration [m/s^2]."""
    program.kill_thread('servo')
    return program.run_main(Stop(tool_rate=program.read_double(0)))


def speed_joints(program: ControlProgram) -> None:
    """9 speedJ: doubles 0-5 joint speeds, 6 acceleration; the time argument stops nothing."""
    target = require_finite(program.read_doubles(0, 6), 'Joint speed')
    acceleration = program.read_double(6)
    running = program.thread_motion('speed')
    if isinstance(running, JointSpeed):
        running.target, running.acceleration = target, acceleration
    else:
        program.run_thread('speed', JointSpeed(target, acceleration))


def speed_tool(program: ControlProgram) -> None:
    """10 speedL: doubles 0-5 twist in ``base``, 6 acceleration; see :func:`speed_joints`."""
    target = require_finite(program.read_doubles(0, 6), 'Tool speed')
    acceleration = program.read_double(6)
    running = program.thread_motion('speed')
    if isinstance(running, ToolSpeed):
        running.target, running.acceleration = target, acceleration
    else:
        program.run_thread('speed', ToolSpeed(target, acceleration))


def speed_stop(program: ControlProgram) -> Motion:
    """15: double 0 deceleration, of the tool after speedL and of the joints after speedJ."""
    rate = program.read_double(0)
    of_joints = isinstance(program.thread_motion('speed'), JointSpeed)
    program.kill_thread('speed')
    return program.run_main(Stop(joint_rate=rate) if of_joints else Stop(tool_rate=rate))


def _stop_move(program: ControlProgram, stop: Stop) -> Motion | None:
    program.kill_thread('move', 'stop')
    if program.read_int(1) == 1:
        program.run_async('stop', stop)
        return None
    return program.run_main(stop)


def stop_tool(program: ControlProgram) -> Motion | None:
    """33 stopL: double 0 deceleration [m/s^2], integer 1 asynchronous."""
    return _stop_move(program, Stop(tool_rate=program.read_double(0)))


def stop_joints(program: ControlProgram) -> Motion | None:
    """34 stopJ: double 0 deceleration [rad/s^2], integer 1 asynchronous."""
    return _stop_move(program, Stop(joint_rate=program.read_double(0)))


def start_jog(program: ControlProgram) -> None:
    """41: doubles 0-5 twist, 6 feature (0 base, 1 tool, 2 custom in 8-13), 7 acceleration."""
    twist = require_finite(program.read_doubles(0, 6), 'Jog speed')
    feature, acceleration = program.read_doubles(6, 2)
    if feature != 0.0:
        custom = pose_from_vector(program.read_doubles(8, 6))
        frame = (program.robot.arm.pose() if feature == 1.0 else custom).quaternion
        twist = np.concatenate([quat_rotate(frame, twist[:3]), quat_rotate(frame, twist[3:])])
    program.run_thread('jog', ToolSpeed(twist, acceleration))


def stop_jog(program: ControlProgram) -> Motion:
    """42: stop jogging."""
    program.kill_thread('jog')
    return program.run_main(Stop(tool_rate=1.2))


def move_until_contact(program: ControlProgram) -> Motion:
    """51: doubles 0-5 twist, 6-11 direction (zero: any), 12 acceleration."""
    twist = require_finite(program.read_doubles(0, 6), 'Tool speed')
    direction = program.read_doubles(6, 6)[:3]
    robot = program.robot
    return program.run_main(
        ToolContact(twist, program.read_double(12), direction, lambda: robot.wrench[:3])
    )


def force_mode_stop(program: ControlProgram) -> Motion:
    """7: ends force mode, which is not modelled, and brakes."""
    return program.run_main(Stop(tool_rate=10.0))


def protective_stop(program: ControlProgram) -> None:
    """31: ask for a protective stop."""
    program.robot.safety.protective_stop(program.robot.now, 'asked for by the program')


MOTION_COMMANDS: dict[int, Command] = {
    1: move_joints,
    2: move_joints_to_pose,
    3: move_tool,
    4: move_tool_to_joints,
    7: force_mode_stop,
    9: speed_joints,
    10: speed_tool,
    11: servo_joints,
    12: servo_circular,
    15: speed_stop,
    16: servo_stop,
    24: servo_tool,
    31: protective_stop,
    33: stop_tool,
    34: stop_joints,
    41: start_jog,
    42: stop_jog,
    45: move_path,
    51: move_until_contact,
}
