# SPDX-License-Identifier: Apache-2.0
"""Is there a UR controller behind this address? Asked with deadlines, before any client is built.

``ur_rtde`` waits for ever for a host that accepts a connection and says nothing.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass

from sqil_ros.errors import RobotUnreachable

DASHBOARD_PORT = 29999
RTDE_PORT = 30004
_HEADER = struct.Struct('>HB')
_FIRST_POLYSCOPE_X = 10


@dataclass(frozen=True)
class ControllerInfo:
    """What the controller says of itself."""

    version: tuple[int, int, int, int]
    banner: str

    @property
    def has_dashboard(self) -> bool:
        """PolyScope X has none."""
        return self.version[0] < _FIRST_POLYSCOPE_X


def probe(host: str, deadline_s: float = 2.0) -> ControllerInfo:
    """Shake hands with RTDE and greet the dashboard.

    Args:
        host: address of the controller.
        deadline_s: time that each of the two ports gets.

    Raises:
        RobotUnreachable: a port refuses, is silent, or answers something else.
    """
    version = _ask(host, RTDE_PORT, deadline_s, _rtde_version)
    if version[0] >= _FIRST_POLYSCOPE_X:
        return ControllerInfo(version, '')
    return ControllerInfo(version, _ask(host, DASHBOARD_PORT, deadline_s, _banner))


class _Deadline:
    """A socket of which every read ends in time."""

    def __init__(self, connection: socket.socket, end_s: float) -> None:
        self._connection = connection
        self._end_s = end_s

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def read(self, size: int) -> bytes:
        left = self._end_s - time.monotonic()
        if left <= 0.0:
            raise TimeoutError('timed out')
        self._connection.settimeout(left)
        data = self._connection.recv(size)
        if not data:
            raise ConnectionError('it hung up')
        return data

    def read_exactly(self, size: int) -> bytes:
        data = b''
        while len(data) < size:
            data += self.read(size - len(data))
        return data


def _ask(host: str, port: int, deadline_s: float, question):  # type: ignore[no-untyped-def]
    mend = 'check robot_ip, cable and firewall, and that the controller has booted.'
    start_s = time.monotonic()
    try:
        with socket.create_connection((host, port), timeout=deadline_s) as connection:
            return question(_Deadline(connection, start_s + deadline_s))
    except TimeoutError as error:
        raise RobotUnreachable(
            f'{host} port {port} gave no answer within {deadline_s:g} s; {mend}'
        ) from error
    except (OSError, ValueError, struct.error) as error:
        raise RobotUnreachable(
            f'{host} port {port} is not a UR controller: {error}; {mend}'
        ) from (error)


def _rtde_version(link: _Deadline) -> tuple[int, int, int, int]:
    if _rtde_request(link, b'V', struct.pack('>H', 2))[:1] != b'\x01':
        raise ValueError('it refuses RTDE protocol version 2')
    major, minor, bugfix, build = struct.unpack('>IIII', _rtde_request(link, b'v', b'')[:16])
    return major, minor, bugfix, build


def _rtde_request(link: _Deadline, kind: bytes, body: bytes) -> bytes:
    link.send(_HEADER.pack(_HEADER.size + len(body), kind[0]) + body)
    while True:
        size, answer = _HEADER.unpack(link.read_exactly(_HEADER.size))
        payload = link.read_exactly(size - _HEADER.size)
        if answer == kind[0]:
            return payload


def _banner(link: _Deadline) -> str:
    line = b''
    while not line.endswith(b'\n'):
        line += link.read(1)
        if len(line) > 500:
            raise ValueError('its greeting does not end')
    return line.decode(errors='replace').strip()
