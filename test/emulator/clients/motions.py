# SPDX-License-Identifier: Apache-2.0
"""What a healthy client does with a healthy robot."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rtde_control import RTDEControlInterface
from rtde_io import RTDEIOInterface
from rtde_receive import RTDEReceiveInterface
from scenario import main, wait_until

PERIOD = 1.0 / 125.0


def distance(a: list[float], b: list[float]) -> float:
    return float(np.abs(np.array(a) - np.array(b)).max())


def settled(ask: Callable[[], Any]) -> Any:
    """ur_rtde does not wait for the answers of streaming queries: the first one is an old one."""
    ask()
    time.sleep(0.05)
    return ask()


def connect_all(host: str) -> dict[str, Any]:
    from dashboard_client import DashboardClient

    receive = RTDEReceiveInterface(host)
    control = RTDEControlInterface(host)
    io = RTDEIOInterface(host)
    panel = DashboardClient(host)
    panel.connect()
    io.setSpeedSlider(0.5)
    io.setStandardDigitalOut(2, True)
    io.setToolDigitalOut(0, True)
    io.setAnalogOutputVoltage(0, 0.25)
    arrived = wait_until(lambda: receive.getTargetSpeedFraction() == 0.5, 2.0)
    before = receive.getTimestamp()
    time.sleep(0.1)
    return {
        'connected': [c.isConnected() for c in (receive, control, panel)],
        'program_running': control.isProgramRunning(),
        'slider_arrived': arrived,
        'digital': receive.getActualDigitalOutputBits(),
        'analog': receive.getStandardAnalogOutput0(),
        'time_passed': receive.getTimestamp() - before,
        'robot_mode': receive.getRobotMode(),
        'safety_mode': receive.getSafetyMode(),
        'version': panel.polyscopeVersion(),
        'running': panel.running(),
        'program_state': panel.programState(),
        'mode_text': panel.robotmode(),
        'safety_text': panel.safetymode(),
    }


def moves(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    home = receive.getActualQ()
    q = [home[0] + 0.3, *home[1:]]
    start = time.monotonic()
    result = {'moveJ': control.moveJ(q), 'moveJ_seconds': time.monotonic() - start}
    result['moveJ_error'] = distance(receive.getActualQ(), q)
    pose = receive.getActualTCPPose()
    up = [*pose[:2], pose[2] + 0.1, *pose[3:]]
    start = time.monotonic()
    result |= {'moveL': control.moveL(up), 'moveL_seconds': time.monotonic() - start}
    result['moveL_error'] = distance(receive.getActualTCPPose()[:3], up[:3])
    legs = [[*pose, 0.5, 2.0, 0.0], [*up, 0.5, 2.0, 0.0]]
    result['path'] = control.moveL(legs)
    result['path_error'] = distance(receive.getActualTCPPose()[:3], up[:3])
    result['path_by_joints'] = control.moveJ([[*q, 1.0, 2.0, 0.0], [*home, 1.0, 2.0, 0.0]])
    result['path_by_joints_error'] = distance(receive.getActualQ(), home)
    result['moveJ_IK'] = control.moveJ_IK(pose, 1.0, 2.0)
    result['moveJ_IK_error'] = distance(receive.getActualTCPPose()[:3], pose[:3])
    result['moveL_FK'] = control.moveL_FK(home, 0.5, 2.0)
    result['moveL_FK_error'] = distance(receive.getActualQ(), home)
    return result


def upper_registers(host: str) -> dict[str, Any]:
    flags = (
        RTDEControlInterface.FLAG_UPLOAD_SCRIPT
        | RTDEControlInterface.FLAG_UPPER_RANGE_REGISTERS
        | RTDEControlInterface.FLAG_NO_EXT_FT
    )
    receive = RTDEReceiveInterface(host, 125.0, [], False, True)
    control = RTDEControlInterface(host, 125.0, flags)
    q = receive.getActualQ()
    target = [q[0] + 0.1, *q[1:]]
    return {'moved': control.moveJ(target), 'error': distance(receive.getActualQ(), target)}


def stop_on_the_way(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    pose = receive.getActualTCPPose()
    target = [*pose[:2], pose[2] + 0.2, *pose[3:]]
    control.moveL(target, 0.1, 0.5, True)
    moving = wait_until(lambda: receive.getActualTCPSpeed()[2] > 0.09, 3.0)
    progress = control.getAsyncOperationProgress()
    control.stopL(2.0)
    speed = max(abs(v) for v in receive.getActualTCPSpeed())
    after = control.getAsyncOperationProgress()
    height = receive.getActualTCPPose()[2]
    return {
        'moving': moving,
        'progress': progress,
        'progress_after': after,
        'speed_after': speed,
        'rose': height - pose[2],
        'back': control.moveL(pose, 0.5, 2.0),
    }


def servo(host: str, joints: bool) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    pose, q = receive.getActualTCPPose(), receive.getActualQ()
    lags, accepted = [], True
    for i in range(125):
        begin = control.initPeriod()
        sent = 0.03 * math.sin(2.0 * math.pi * i / 125.0)
        if joints:
            target = [q[0] + sent, *q[1:]]
            accepted &= control.servoJ(target, 0.0, 0.0, PERIOD, 0.1, 300)
            lags.append(abs(receive.getActualQ()[0] - target[0]))
        else:
            target = [pose[0] + sent, *pose[1:]]
            accepted &= control.servoL(target, 0.0, 0.0, PERIOD, 0.1, 300)
            lags.append(abs(receive.getActualTCPPose()[0] - target[0]))
        control.waitPeriod(begin)
    stopped = control.servoStop()
    at_rest = wait_until(lambda: max(map(abs, receive.getActualQd())) < 1e-3, 1.0)
    return {
        'accepted': accepted,
        'median_lag': float(np.median(lags)),
        'stopped': stopped,
        'at_rest': at_rest,
        'move_after': control.moveJ(q, 1.0, 2.0),
    }


def move_while_servoing(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    q = receive.getActualQ()
    control.servoJ(q, 0.0, 0.0, PERIOD, 0.1, 300)
    time.sleep(0.1)
    return {'moveJ': control.moveJ(q), 'running': control.isProgramRunning()}


def speed(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    pose, q = receive.getActualTCPPose(), receive.getActualQ()
    control.speedL([0.0, 0.0, 0.05, 0.0, 0.0, 0.0], 0.5, 0.1)
    time.sleep(0.6)  # far longer than the time argument, which stops nothing
    twist = receive.getActualTCPSpeed()
    control.speedStop()
    stopped = wait_until(lambda: max(map(abs, receive.getActualQd())) < 1e-3, 1.0)
    drift = distance(receive.getActualTCPPose()[:2], pose[:2])
    control.speedJ([0.2, 0.0, 0.0, 0.0, 0.0, 0.0], 1.0, 0.1)
    time.sleep(0.5)
    joint_speed = receive.getActualQd()
    control.speedStop()
    return {
        'twist': twist,
        'stopped': stopped,
        'drift': drift,
        'joint_speed': joint_speed,
        'back': control.moveJ(q, 1.0, 2.0),
    }


def programs(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    q = receive.getActualQ()
    control.stopScript()
    result: dict[str, Any] = {'stopped': not control.isProgramRunning()}
    result['move_when_stopped'] = control.moveJ(q)
    result['reupload'] = control.reuploadScript()
    result['running_again'] = wait_until(control.isProgramRunning, 2.0)
    turned = [*q[:5], q[5] + 0.2]
    body = f'movej({turned}, a=2.0, v=1.0)\nsleep(0.05)\ntextmsg("done")\n'
    result['custom'] = control.sendCustomScriptFunction('wave', body)
    result['custom_error'] = distance(receive.getActualQ(), turned)
    result['back'] = control.moveJ(q, 1.0, 2.0)
    # A second start finds the program of the first, ends it and uploads its own.
    control.disconnect()
    second = RTDEControlInterface(host)
    result['second'] = second.moveJ(q)
    return result


def queries(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    q, pose = receive.getActualQ(), receive.getActualTCPPose()
    far = [2.0, 0.0, 0.5, *pose[3:]]
    result = {
        'ik_error': distance(control.getInverseKinematics(pose, q), q),
        'has': control.getInverseKinematicsHasSolution(pose),
        'has_far': control.getInverseKinematicsHasSolution(far),
        'within': control.isPoseWithinSafetyLimits(pose),
        'steady': control.isSteady(),
        'trans': control.poseTrans([1.0, 0, 0, 0, 0, math.pi / 2], [1.0, 0, 0, 0, 0, 0]),
        'step_time': settled(control.getStepTime),
    }
    # An offset of all zeros makes ur_rtde send a package of the wrong size and wait for ever.
    with_tool = control.getForwardKinematics(q, [0.0, 0.0, 0.156, 0.0, 0.0, 0.0])
    control.setPayload(1.5, [0.0, 0.0, 0.05])
    control.setTcp([0.0, 0.0, 0.156, 0.0, 0.0, 0.0])
    time.sleep(0.05)
    flange = settled(control.getActualToolFlangePose)
    result |= {
        'tcp': control.getTCPOffset(),
        'payload': receive.getPayload(),
        'fk_error': distance(with_tool, receive.getActualTCPPose()),
        'flange_error': distance(flange, pose),
        'tool_length': float(np.linalg.norm(np.subtract(receive.getActualTCPPose(), pose)[:3])),
    }
    # No solution is a runtime exception of the program, which ends.
    result['ik_far'] = control.getInverseKinematics(far)
    result['running_after'] = control.isProgramRunning()
    return result


if __name__ == '__main__':
    main(globals())
