# SPDX-License-Identifier: Apache-2.0
"""What a client meets when the robot, the link or its own data fail."""

from __future__ import annotations

import math
import time
from typing import Any

from dashboard_client import DashboardClient
from rtde_control import RTDEControlInterface
from rtde_io import RTDEIOInterface
from rtde_receive import RTDEReceiveInterface
from scenario import main, say, wait_until

from sqil_ros.sim.side_channel import SideChannel

PERIOD = 1.0 / 125.0


def servo(control: RTDEControlInterface, pose: list[float]) -> bool:
    return control.servoL(pose, 0.0, 0.0, PERIOD, 0.1, 300)


def stream(control: RTDEControlInterface, pose: list[float], seconds: float) -> int:
    """Send ``pose`` for a while; how many calls were accepted before one was not, -1 if all."""
    for i in range(round(seconds / PERIOD)):
        begin = control.initPeriod()
        if not servo(control, pose):
            return i
        control.waitPeriod(begin)
    return -1


def at_rest(receive: RTDEReceiveInterface, seconds: float = 1.0) -> bool:
    return wait_until(lambda: max(map(abs, receive.getActualQd())) < 1e-3, seconds)


def above(pose: list[float], height: float) -> list[float]:
    return [*pose[:2], pose[2] + height, *pose[3:]]


def connect_panel(host: str) -> DashboardClient:
    panel = DashboardClient(host)
    panel.connect()
    return panel


def nan_pose(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    pose = receive.getActualTCPPose()
    result: dict[str, Any] = {'accepted': servo(control, [math.nan, *pose[1:]])}
    result['ended'] = wait_until(lambda: not control.isProgramRunning(), 1.0)
    result['next'] = servo(control, pose)
    result['at_rest'] = at_rest(receive)
    return result


def recovery_after_nan(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    pose = receive.getActualTCPPose()
    servo(control, [math.nan, *pose[1:]])
    wait_until(lambda: not control.isProgramRunning(), 1.0)
    # The command register still holds the command that killed the program.
    control.reuploadScript()
    wait_until(control.isProgramRunning, 0.5)
    time.sleep(0.2)
    result: dict[str, Any] = {'naive': control.isProgramRunning()}
    result['servo_stop'] = control.servoStop()
    control.reuploadScript()
    result['recovered'] = wait_until(control.isProgramRunning, 2.0)
    result['moves'] = control.moveL(above(pose, 0.02))
    return result


def unreachable(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    pose = receive.getActualTCPPose()
    moved = control.moveL([pose[0], pose[1] - 1.5, *pose[2:]], 0.5, 2.0)
    return {
        'moved': moved,
        'running': control.isProgramRunning(),
        'at_rest': at_rest(receive),
    }


def watchdog(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    pose = receive.getActualTCPPose()
    control.setWatchdog(10)
    result: dict[str, Any] = {'streamed': stream(control, pose, 1.0)}
    control.speedL([0.0, 0.0, 0.1, 0.0, 0.0, 0.0], 1.0, 0.0)
    result['refused_without_servo_stop'] = wait_until(lambda: not control.isProgramRunning(), 2.0)
    control.servoStop()
    control.reuploadScript()
    wait_until(control.isProgramRunning, 2.0)
    control.setWatchdog(10)
    control.speedL([0.0, 0.0, 0.1, 0.0, 0.0, 0.0], 1.0, 0.0)
    silent_since = time.monotonic()
    result['ended'] = wait_until(lambda: not control.isProgramRunning(), 2.0)
    result['at_rest'] = at_rest(receive)
    result['seconds'] = time.monotonic() - silent_since
    return result


def watchdog_and_move(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    q = receive.getActualQ()
    control.setWatchdog(10)
    start = time.monotonic()
    moved = control.moveJ([q[0] + 0.5, *q[1:]])
    return {'moved': moved, 'seconds': time.monotonic() - start}


def run_until_killed(host: str, watched: bool) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    if watched:
        control.setWatchdog(10)
    control.speedL([0.0, 0.0, 0.05, 0.0, 0.0, 0.0], 0.5, 0.1)
    wait_until(lambda: receive.getActualTCPSpeed()[2] > 0.04, 2.0)
    say('moving')
    while True:
        control.speedL([0.0, 0.0, 0.05, 0.0, 0.0, 0.0], 0.5, 0.1)
        time.sleep(0.02)


def protective_stop(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    panel, channel = connect_panel(host), SideChannel(host)
    pose = receive.getActualTCPPose()
    channel.request('fault', kind='unlock_delay', seconds=0.3)
    target = above(pose, 0.1)
    stream(control, target, 0.15)
    channel.request('fault', kind='protective_stop')
    result: dict[str, Any] = {'calls_until_refused': stream(control, target, 1.0)}
    # The receive client may lag behind the control client by a state.
    result['stopped'] = wait_until(receive.isProtectiveStopped, 1.0)
    result['safety_mode'] = receive.getSafetyMode()
    result['paused'] = wait_until(lambda: receive.getRuntimeState() == 4, 1.0)
    result['at_rest'] = at_rest(receive)
    try:
        panel.unlockProtectiveStop()
        result['early_unlock'] = 'accepted'
    except RuntimeError as error:
        result['early_unlock'] = str(error)
    time.sleep(0.3)
    start = time.monotonic()
    panel.stop()
    panel.unlockProtectiveStop()
    wait_until(lambda: receive.getSafetyMode() == 1, 1.0)
    result['register_cleared'] = control.servoStop()
    stood = receive.getActualTCPPose()[2]
    control.reuploadScript()
    result['running'] = wait_until(control.isProgramRunning, 2.0)
    result['recovery_seconds'] = time.monotonic() - start
    here = receive.getActualTCPPose()
    result['streams_again'] = stream(control, here, 0.3)
    result['crept'] = abs(receive.getActualTCPPose()[2] - stood)
    control.servoStop()
    result['moves_again'] = control.moveL(pose)
    return result


def play_after_protective_stop(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    panel, channel = connect_panel(host), SideChannel(host)
    pose = receive.getActualTCPPose()
    target = above(pose, 0.1)
    control.moveL(target, 0.1, 0.5, True)
    wait_until(lambda: receive.getActualTCPPose()[2] > pose[2] + 0.01, 2.0)
    channel.request('fault', kind='protective_stop')
    wait_until(lambda: receive.getRuntimeState() == 4, 1.0)
    stood = receive.getActualTCPPose()[2] - pose[2]
    panel.unlockProtectiveStop()
    panel.play()
    went_on = wait_until(lambda: receive.getActualTCPPose()[2] > target[2] - 0.002, 2.0)
    return {'stood_at': stood, 'went_on': went_on, 'state': receive.getRuntimeState()}


def emergency_stop(host: str) -> dict[str, Any]:
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    panel, channel = connect_panel(host), SideChannel(host)
    q = receive.getActualQ()
    control.moveJ([q[0] + 0.8, *q[1:]], 0.5, 1.0, True)
    wait_until(lambda: abs(receive.getActualQd()[0]) > 0.4, 2.0)
    channel.request('fault', kind='emergency_stop')
    start = time.monotonic()
    result: dict[str, Any] = {'rest': at_rest(receive)}
    result['seconds'] = time.monotonic() - start
    result['stopped'] = wait_until(receive.isEmergencyStopped, 1.0)
    result['modes'] = [receive.getRobotMode(), receive.getSafetyMode()]
    result['blocking_move'] = control.moveJ(q)
    try:
        panel.play()
        result['play'] = 'accepted'
    except RuntimeError:
        result['play'] = 'refused'
    panel.powerOn()
    result['power_under_stop'] = receive.getRobotMode()
    channel.request('fault', kind='release')
    panel.stop()
    panel.powerOn()
    panel.brakeRelease()
    result['ready'] = wait_until(
        lambda: (receive.getRobotMode(), receive.getSafetyMode()) == (7, 1), 1.0
    )
    control.servoStop()
    control.reuploadScript()
    result['running'] = wait_until(control.isProgramRunning, 2.0)
    result['moves_again'] = control.moveJ(q, 1.0, 2.0)
    return result


def frozen(host: str) -> dict[str, Any]:
    receive = RTDEReceiveInterface(host)
    channel = SideChannel(host)
    channel.request('fault', kind='freeze')
    start = time.monotonic()
    time.sleep(0.2)
    stamp, pose = receive.getTimestamp(), receive.getActualQ()
    gone = wait_until(lambda: not receive.isConnected(), 5.0)
    return {
        'gone': gone,
        'seconds': time.monotonic() - start,
        'stamp_stuck': receive.getTimestamp() == stamp,
        'still_answers': receive.getActualQ() == pose,
    }


def dropped(host: str) -> dict[str, Any]:
    receive = RTDEReceiveInterface(host)
    SideChannel(host).request('fault', kind='drop', seconds=0.5)
    gone = wait_until(lambda: not receive.isConnected(), 3.0)
    time.sleep(0.6)
    again = RTDEReceiveInterface(host)
    before = again.getTimestamp()
    return {'gone': gone, 'again': wait_until(lambda: again.getTimestamp() > before, 1.0)}


def dropped_control(host: str) -> dict[str, Any]:
    """A control client may crash here; nobody reads the result."""
    receive, control = RTDEReceiveInterface(host), RTDEControlInterface(host)
    pose = receive.getActualTCPPose()
    stream(control, pose, 0.2)
    say('streaming')
    while True:
        servo(control, pose)
        time.sleep(PERIOD)


def remote_control_refused(host: str) -> dict[str, Any]:
    channel = SideChannel(host)
    channel.request('fault', kind='refuse_remote')
    try:
        RTDEControlInterface(host)
        message = 'connected'
    except RuntimeError as error:
        message = str(error)
    channel.request('fault', kind='allow_remote')
    return {'message': message, 'allowed': RTDEControlInterface(host).isProgramRunning()}


def inputs_in_use(host: str) -> dict[str, Any]:
    control, io = RTDEControlInterface(host), RTDEIOInterface(host)
    messages = []
    for make in (RTDEControlInterface, RTDEIOInterface):
        try:
            make(host)
            messages.append('connected')
        except RuntimeError as error:
            messages.append(str(error))
    io.disconnect()
    time.sleep(0.1)
    return {
        'messages': messages,
        'free_again': RTDEIOInterface(host).setSpeedSlider(1.0),
        'first_unharmed': control.isProgramRunning(),
    }


def unknown_field(host: str) -> dict[str, Any]:
    try:
        RTDEReceiveInterface(host, 125.0, ['actual_q', 'no_such_field'])
        return {'message': 'connected'}
    except RuntimeError as error:
        return {'message': str(error)}


if __name__ == '__main__':
    main(globals())
