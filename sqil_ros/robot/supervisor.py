# SPDX-License-Identifier: Apache-2.0
"""Starts the worker process, notices when it dies or falls silent, never restarts it by itself."""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import replace

from sqil_ros.child_process import start_module
from sqil_ros.robot.channel import Channel, channel_pair
from sqil_ros.robot.protocol import (
    Busy,
    Configure,
    Faulted,
    Message,
    ProtocolError,
    Quit,
    RobotState,
)
from sqil_ros.robot.settings import WorkerSettings
from sqil_ros.safety import Fault

# Longer than any wait inside ur_rtde short of a hang; the watchdog stops the arm much earlier.
_SILENCE_S = 3.0
_IMPORT_S = 20.0
_QUIT_S = 3.0


class Supervisor:
    """The node's side of the worker."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Nothing runs before :meth:`start`."""
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._patience_s = 0.0
        self.state: RobotState | None = None
        self.fault: Fault | None = None
        self.message = ''

    def start(self, recover: bool = False) -> None:
        """Start a worker, disarmed; one that still runs is ended first.

        Args:
            recover: an operator has asked for it: old programs are ended, a protective stop is
                released. Never set on the node's own initiative.
        """
        self.close()
        self.fault, self.message = None, ''
        self._channel, theirs = channel_pair()
        with theirs:
            self._process = start_module('sqil_ros.robot.worker', theirs.fileno())
        settings = replace(self._settings, recover=recover)
        self._channel.send(Configure(settings.to_json()))
        self._patience_s = time.monotonic() + _IMPORT_S

    @property
    def pid(self) -> int | None:
        """Process number of the living worker."""
        return None if self._process is None else self._process.pid

    def send(self, message: Message) -> bool:
        """Pass a message to the worker; False when there is none."""
        if self._channel is None:
            return False
        self._channel.send(message)
        return True

    def poll(self) -> list[Message]:
        """Take what the worker has sent; latches a fault when it is gone or silent.

        Returns:
            Replies; states and faults are kept in ``state``, ``fault`` and ``message``.
        """
        if self._channel is None:
            return []
        replies: list[Message] = []
        now_s = time.monotonic()
        try:
            received = self._channel.receive()
        except ProtocolError as error:
            received = []
            self._latch(Fault.WORKER_LOST, str(error))
        for message in received:
            if isinstance(message, RobotState):
                self.state = message
                self._patience_s = now_s + _SILENCE_S
            elif isinstance(message, Busy):
                self._patience_s = now_s + message.seconds
            elif isinstance(message, Faulted):
                self._latch(Fault(message.fault), message.message)
            else:
                replies.append(message)
        if self._channel.closed:
            self._bury()
        elif now_s > self._patience_s:
            self._latch(
                Fault.WORKER_SILENT,
                'The robot worker stopped answering and was ended; call reset_fault.',
            )
            self._kill()
        else:
            self._channel.flush()
        return replies

    def close(self) -> None:
        """End the worker: it brakes, stops the program and goes; killed if it does not."""
        if self._process is None:
            return
        if self._channel is not None:
            self._channel.send(Quit())
        try:
            self._process.wait(_QUIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._hang_up()

    def _latch(self, fault: Fault, message: str) -> None:
        if self.fault is None:
            self.fault, self.message = fault, message

    def _bury(self) -> None:
        """The worker's end of the channel is closed, so it has died or is about to."""
        assert self._process is not None
        try:
            status = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if status == -signal.SIGALRM:
            self._latch(
                Fault.ROBOT_UNREACHABLE,
                f'{self._settings.host} accepted a connection and then fell silent; restart the '
                'controller and reset.',
            )
        how = f'signal {-status}' if status < 0 else f'status {status}'
        self._latch(
            Fault.WORKER_LOST,
            f'The robot worker ended with {how}; the watchdog has stopped the arm. Reset.',
        )
        self._hang_up()

    def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = None
        self._process = None
        # What a dead worker has seen must not be acted upon.
        self.state = None
