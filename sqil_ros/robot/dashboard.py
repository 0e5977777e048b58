# SPDX-License-Identifier: Apache-2.0
"""The few dashboard commands that a recovery needs, each with a deadline."""

from __future__ import annotations

import socket
import time
from types import TracebackType

from sqil_ros.errors import RobotFault, RobotUnreachable
from sqil_ros.robot.probe import DASHBOARD_PORT

UNLOCK_WAIT_S = 5.0
"""A controller refuses to unlock earlier than this after a protective stop (second-hand)."""


class Dashboard:
    """A connection to the dashboard server; use it with ``with``."""

    def __init__(self, host: str, deadline_s: float = 1.0) -> None:
        """Connect and read the greeting.

        Raises:
            RobotUnreachable: no dashboard answers in time.
        """
        self._where = f'{host} port {DASHBOARD_PORT}'
        self._buffer = b''
        try:
            self._socket = socket.create_connection((host, DASHBOARD_PORT), timeout=deadline_s)
        except OSError as error:
            raise RobotUnreachable(
                f'Dashboard at {self._where} did not answer within {deadline_s:g} s: {error}; '
                'check the controller.'
            ) from error
        self._read_line()

    def __enter__(self) -> Dashboard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def ask(self, command: str) -> str:
        """Send one command and return the answer.

        Raises:
            RobotUnreachable: no answer in time.
        """
        try:
            self._socket.sendall(command.encode() + b'\n')
        except OSError as error:
            raise RobotUnreachable(f'Dashboard at {self._where} hung up: {error}.') from error
        return self._read_line()

    def stop_program(self) -> None:
        """End a running or paused program, so that ``play`` cannot resume an old target.

        What it answers where none runs is not documented; the robot's runtime state tells.
        """
        self.ask('stop')

    def unlock_protective_stop(self, patience_s: float = UNLOCK_WAIT_S + 1.5) -> None:
        """Release a protective stop, waiting as long as the controller insists.

        Raises:
            RobotFault: it still refuses at the end.
        """
        end_s = time.monotonic() + patience_s
        self.ask('close safety popup')
        while (answer := self.ask('unlock protective stop')) != 'Protective stop releasing':
            if time.monotonic() > end_s:
                raise RobotFault(
                    f'The protective stop stays: {answer!r} after {patience_s:g} s; clear its '
                    'cause at the pendant and reset again.'
                )
            time.sleep(0.2)

    def _read_line(self) -> str:
        while b'\n' not in self._buffer:
            try:
                data = self._socket.recv(4096)
            except OSError as error:
                raise RobotUnreachable(
                    f'Dashboard at {self._where} fell silent: {error}; check the controller.'
                ) from error
            if not data:
                raise RobotUnreachable(f'Dashboard at {self._where} hung up.')
            self._buffer += data
        line, self._buffer = self._buffer.split(b'\n', 1)
        return line.decode(errors='replace').strip()
