# SPDX-License-Identifier: Apache-2.0
"""Robotiq gripper over the URCap's socket, in a thread of its own with deadlines."""

from __future__ import annotations

import socket
import threading
import time

from sqil_ros.errors import RobotFault, RobotUnreachable

PORT = 63352
_CLOSED = 255
_ACTIVE = 3
_POLL_S = 0.03
_ACTIVATION_S = 10.0
_GRACE_S = 0.5


def position_from_opening(opening: float) -> int:
    """Opening 1 (open) .. 0 (closed) to the gripper's POS 0 .. 255."""
    return round(_CLOSED * (1.0 - min(1.0, max(0.0, opening))))


def opening_from_position(position: int) -> float:
    """Inverse of :func:`position_from_opening`."""
    return 1.0 - position / _CLOSED


class RobotiqClient:
    """Variables of the gripper, one request at a time."""

    def __init__(self, host: str, port: int = PORT, deadline_s: float = 1.0) -> None:
        """Connect.

        Raises:
            RobotUnreachable: nothing answers in time.
        """
        self._where = f'gripper at {host} port {port}'
        self._address, self._deadline_s = (host, port), deadline_s
        self.connect()

    def connect(self) -> None:
        """Connect, again if need be.

        Raises:
            RobotUnreachable: nothing answers in time.
        """
        try:
            self._socket = socket.create_connection(self._address, self._deadline_s)
        except OSError as error:
            raise RobotUnreachable(
                f'No {self._where} within {self._deadline_s:g} s: {error}; install its URCap '
                "or set the parameter gripper to 'none'."
            ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, name: str) -> int:
        """Value of a variable, e.g. POS, STA, OBJ, FLT.

        Raises:
            RobotUnreachable: no answer.
            RobotFault: the answer has no number in it (``?`` during an emergency stop).
        """
        answer = self._ask(f'GET {name}\n').split()
        if len(answer) != 2 or answer[0] != name or not answer[1].isdecimal():
            raise RobotFault(f'{self._where} answered {" ".join(answer)!r} to GET {name}.')
        return int(answer[1])

    def set(self, **values: int) -> None:
        """Write variables in one request.

        Raises:
            RobotUnreachable: no answer.
            RobotFault: not acknowledged.
        """
        request = ' '.join(f'{name} {value}' for name, value in values.items())
        answer = self._ask(f'SET {request}\n').strip()
        if answer != 'ack':
            raise RobotFault(f'{self._where} answered {answer!r} to SET {request}.')

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _ask(self, request: str) -> str:
        try:
            self._socket.sendall(request.encode())
            answer = self._socket.recv(1024)
        except OSError as error:
            raise RobotUnreachable(f'{self._where} fell silent: {error}.') from error
        if not answer:
            raise RobotUnreachable(f'{self._where} hung up.')
        return answer.decode(errors='replace')


class Gripper:
    """Keeps the measured opening fresh and passes commands on, off the robot's cycle."""

    def __init__(self, client: RobotiqClient, force: float, speed: float = 1.0) -> None:
        """Read once, then go on reading in a thread.

        Args:
            client: the connection; this object closes it.
            force: 0 .. 1 of the gripper's largest force.
            speed: 0 .. 1 of its largest speed.

        Raises:
            RobotUnreachable: no answer.
        """
        self._client = client
        self._force = round(255 * force)
        self._speed = round(255 * speed)
        self._wanted: int | None = None
        self._activate = False
        self._ended = threading.Event()
        self.opening = opening_from_position(client.get('POS'))
        self.fault = ''
        self._thread = threading.Thread(target=self._run, name='gripper', daemon=True)
        self._thread.start()

    def command(self, opening: float) -> None:
        """Move there as soon as the thread comes round; the first command activates it."""
        self._activate = True
        self._wanted = position_from_opening(opening)

    def close(self) -> None:
        """Stop the thread; the fingers stay where they are."""
        self._ended.set()
        self._thread.join(timeout=2.0)
        self._client.close()

    def _run(self) -> None:
        sent: int | None = None
        while not self._ended.wait(_POLL_S):
            try:
                if self._activate:
                    self._ensure_active()
                    self._activate = False
                wanted = self._wanted
                if wanted is not None and wanted != sent:
                    self._client.set(POS=wanted, SPE=self._speed, FOR=self._force, GTO=1)
                    sent = wanted
                self.opening = opening_from_position(self._client.get('POS'))
            except RobotFault:
                # Reads '?' while the emergency stop cuts the tool's power; it comes back.
                sent = None
            except RobotUnreachable:
                sent = None
                if not self._reconnected():
                    return

    def _reconnected(self) -> bool:
        """Try once more after a while: a lost link is the robot's fault, not the gripper's."""
        self._client.close()
        if self._ended.wait(_GRACE_S):
            return False
        try:
            self._client.connect()
        except RobotUnreachable as error:
            self.fault = str(error)
            return False
        return True

    def _ensure_active(self) -> None:
        if self._client.get('STA') == _ACTIVE:
            return
        self._client.set(ACT=0)
        self._client.set(ACT=1)
        end_s = time.monotonic() + _ACTIVATION_S
        while self._client.get('STA') != _ACTIVE and not self._ended.wait(0.1):
            if time.monotonic() > end_s:
                raise RobotUnreachable(
                    f'The gripper did not activate within {_ACTIVATION_S:g} s; see its lamp.'
                )


class NoGripper:
    """Stands in where none is mounted: what is commanded counts as measured."""

    fault = ''

    def __init__(self) -> None:
        self.opening = 1.0

    def command(self, opening: float) -> None:
        """Pretend."""
        self.opening = opening

    def close(self) -> None:
        """Nothing to close."""
