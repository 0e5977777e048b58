# SPDX-License-Identifier: Apache-2.0
"""Client of the emulator's side channel: what a real controller does not have.

One JSON object a line and one line in answer. Scene resets, ground truth for the cameras and
injected faults go this way, never the control of the arm.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from sqil_ros.errors import RobotUnreachable, SceneError

PORT = 30900
_PIECE = 65536


class SideChannel:
    """A connection that is made when it is first needed and again after it broke."""

    def __init__(self, host: str, port: int = PORT, timeout_s: float = 2.0) -> None:
        """Remember the address; nothing is sent yet."""
        self._address = (host, port)
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._rest = b''

    def request(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """Send one command and wait for its answer.

        Raises:
            RobotUnreachable: no connection, or no answer in time; the next request reconnects.
            SceneError: the emulator refused the command.
        """
        line = json.dumps({'cmd': cmd} | fields).encode() + b'\n'
        try:
            self._connect().sendall(line)
            answer = json.loads(self._read_line())
        except (OSError, ValueError) as error:
            self.close()
            host, port = self._address
            raise RobotUnreachable(
                f'The emulator at {host}:{port} did not answer {cmd!r} within '
                f'{self._timeout_s} s ({error}); start sqil_ros.sim.ur_controller there.'
            ) from error
        if not isinstance(answer, dict) or 'error' in answer:
            raise SceneError(f'The emulator refused {cmd!r}: {answer}')
        return answer

    def close(self) -> None:
        """Drop the connection; a later request makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._rest = b''

    def _connect(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _read_line(self) -> bytes:
        pieces = self._rest
        while b'\n' not in pieces:
            piece = self._connect().recv(_PIECE)
            if not piece:
                raise ConnectionResetError('connection closed')
            pieces += piece
        line, self._rest = pieces.split(b'\n', 1)
        return line
