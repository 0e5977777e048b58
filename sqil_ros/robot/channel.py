# SPDX-License-Identifier: Apache-2.0
"""A pair of sockets between node and worker. The kernel closes it when either of them dies."""

from __future__ import annotations

import contextlib
import socket
from collections import deque

from sqil_ros.robot.protocol import Message, decode, encode

_LARGEST = 65536


class Channel:
    """One end: sends and receives whole messages and never blocks."""

    def __init__(self, end: socket.socket) -> None:
        """Take over ``end``, one of ``socketpair(AF_UNIX, SOCK_SEQPACKET)``."""
        end.setblocking(False)
        self._socket = end
        self._waiting: deque[bytes] = deque()
        self.closed = False

    def fileno(self) -> int:
        """For ``select``."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Deliver ``message`` in order; it waits here while the other side is slow."""
        self._waiting.append(encode(message))
        self.flush()

    def offer(self, message: Message) -> None:
        """Deliver ``message`` now or never: for states, of which the next one is better."""
        if not self._waiting:
            self._push(encode(message))

    def flush(self) -> None:
        """Try again what could not be sent."""
        while self._waiting and self._push(self._waiting[0]):
            self._waiting.popleft()

    def receive(self) -> list[Message]:
        """Everything that has arrived; sets ``closed`` when the other side is gone.

        Raises:
            ProtocolError: something else than a message arrived.
        """
        messages = []
        while not self.closed:
            try:
                data = self._socket.recv(_LARGEST)
            except BlockingIOError:
                break
            except ConnectionResetError:
                # The other side died with mail unread. What it said before is still to come:
                # the error is reported once, and the next read goes on.
                continue
            if not data:
                self.closed = True
            else:
                messages.append(decode(data))
        return messages

    def close(self) -> None:
        """Hang up."""
        self.closed = True
        self._socket.close()

    def _push(self, data: bytes) -> bool:
        """Whether ``data`` is done with: sent, or not to be read by anybody any more."""
        # ``receive`` notices the end of the other side, after its last words.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            try:
                if not self.closed:
                    self._socket.send(data)
            except BlockingIOError:
                return False
        return True


def channel_pair() -> tuple[Channel, socket.socket]:
    """The node's end, and the raw socket that the worker inherits."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), theirs
