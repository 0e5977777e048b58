# SPDX-License-Identifier: Apache-2.0
"""The process that holds ``ur_rtde``: one loop at the robot's rate, ended by any loss.

Started by :mod:`sqil_ros.robot.supervisor` with one end of a socket pair. It stops the arm and
ends when the node's end closes, on SIGTERM and on SIGINT; the controller's watchdog stops the arm
when this process dies.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence

from sqil_ros.errors import RobotUnreachable, SqilError
from sqil_ros.priority import go_first
from sqil_ros.robot.channel import Channel
from sqil_ros.robot.motion import Motion
from sqil_ros.robot.protocol import Busy, Configure, Faulted, Quit
from sqil_ros.robot.robotiq import Gripper, NoGripper, RobotiqClient
from sqil_ros.robot.settings import WorkerSettings
from sqil_ros.robot.ur_arm import CONSTRUCTION_S, UrArm
from sqil_ros.safety import Fault

EXIT_FAULT = 3
_NICENESS = -10
_CONFIGURE_S = 10.0
_RECOVERY_S = 10.0


class Worker:
    """Owns the loop's time, its messages and its end."""

    def __init__(self, channel: Channel) -> None:
        """Speak through ``channel``."""
        self._channel = channel
        self._told_to_quit = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def run(self) -> int:
        """Connect, work, stop; returns the exit status."""
        go_first(_NICENESS)
        settings = self._configuration()
        if settings is None:
            return 0
        self._channel.send(Busy(2 * settings.probe_s + CONSTRUCTION_S + _RECOVERY_S))
        try:
            arm = UrArm(settings)
            gripper = _connect_gripper(settings)
        except SqilError as error:
            fault = (
                Fault.ROBOT_UNREACHABLE
                if isinstance(error, RobotUnreachable)
                else Fault.ROBOT_NOT_READY
            )
            return self._give_up(fault, str(error))
        # Kept until the process has ended: the destructors of ur_rtde sleep for a second, and
        # after a lost link they may crash.
        self._arm = arm
        motion = Motion(arm, gripper, settings, self._channel.send, time.monotonic())
        status = self._loop(motion, settings)
        if status != 0:
            return status
        motion.disarm()
        arm.end_program()
        gripper.close()
        return 0

    def _loop(self, motion: Motion, settings: WorkerSettings) -> int:
        period = 1.0 / settings.rate_hz
        deadline = time.monotonic()
        count = 0
        while not self._told_to_quit:
            deadline += period
            left = deadline - time.monotonic()
            if left > 0.0:
                time.sleep(left)
            elif left < -period:
                # Catching up would bunch setpoints; the trajectory follows the clock anyway.
                motion.late_cycles += 1
                deadline = time.monotonic()
            for message in self._channel.receive():
                if isinstance(message, Quit):
                    return 0
                motion.handle(message, time.monotonic())
            if self._channel.closed:
                motion.latch(Fault.NODE_LOST, 'The robot node has gone; start it again.')
                return self._say(Fault.NODE_LOST, 'The robot node has gone; the arm was stopped.')
            state = motion.cycle(time.monotonic())
            if motion.link_lost:
                return EXIT_FAULT
            count += 1
            if count % settings.state_every == 0:
                self._channel.offer(state)
            self._channel.flush()
        return 0

    def _configuration(self) -> WorkerSettings | None:
        """The node's first message, or None if it ended before sending one."""
        if select.select([self._channel], [], [], _CONFIGURE_S)[0]:
            for message in self._channel.receive():
                if isinstance(message, Configure):
                    return WorkerSettings.from_json(message.settings)
        return None

    def _give_up(self, fault: Fault, message: str) -> int:
        self._channel.send(Faulted(fault.value, message))
        return self._say(fault, message)

    def _say(self, fault: Fault, message: str) -> int:
        print(f'robot worker: {fault.value}: {message}', file=sys.stderr, flush=True)
        return EXIT_FAULT

    def _on_signal(self, number: int, frame: object) -> None:
        self._told_to_quit = True


def _connect_gripper(settings: WorkerSettings) -> Gripper | NoGripper:
    if settings.gripper == 'none':
        return NoGripper()
    return Gripper(RobotiqClient(settings.host), settings.gripper_force)


def main(args: Sequence[str] | None = None) -> None:
    """Run the worker on the inherited socket whose number is the only argument; never returns."""
    arguments = sys.argv[1:] if args is None else list(args)
    worker = Worker(Channel(socket.socket(fileno=int(arguments[0]))))
    status = worker.run()
    sys.stderr.flush()
    os._exit(status)


if __name__ == '__main__':
    main()
