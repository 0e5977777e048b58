# SPDX-License-Identifier: Apache-2.0
"""TCP servers of the emulator on one asyncio loop: connections that can all be dropped at once."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from sqil_ros.errors import RobotUnreachable

MAX_LINE_BYTES = 1 << 16


class Connection(asyncio.Protocol):
    """One TCP client; subclasses say what its bytes mean."""

    def __init__(self, network: Network | None) -> None:
        """``network`` can drop the connection; None for one that outlives a dropped link."""
        self._network = network
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio when a client connects."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._network is not None and not self._network.admit(self):
            transport.abort()
            return
        self.opened()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio when the client is gone."""
        self._transport = None
        if self._network is not None:
            self._network.forget(self)
        self.closed()

    def opened(self) -> None:
        """The client is connected."""

    def closed(self) -> None:
        """The client is gone."""

    def send(self, data: bytes) -> None:
        """Queue ``data`` for the client."""
        if self._transport is not None:
            self._transport.write(data)

    def send_if_idle(self, data: bytes) -> bool:
        """Send ``data`` unless the client has not taken what was sent before."""
        if self._transport is None or self._transport.get_write_buffer_size() > 0:
            return False
        self._transport.write(data)
        return True

    def limit_send_buffer(self, size: int) -> None:
        """Let the kernel hold at most about ``size`` bytes for the client."""
        if self._transport is not None:
            sock = self._transport.get_extra_info('socket')
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def close(self) -> None:
        """Say good-bye after everything queued was sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()


class Network:
    """The robot's cable: every connection that goes through it."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self._down_until = 0.0

    def admit(self, connection: Connection) -> bool:
        """Register a new connection; False while the link is down."""
        if asyncio.get_running_loop().time() < self._down_until:
            return False
        self.connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """Called when a connection ended."""
        self.connections.discard(connection)

    def drop(self, seconds: float = 0.0) -> None:
        """Cut every connection, and each new one for ``seconds``."""
        self._down_until = asyncio.get_running_loop().time() + seconds
        for connection in tuple(self.connections):
            connection.abort()


class LineConnection(Connection):
    """A client that speaks in lines of text: dashboard, gripper, side channel."""

    def __init__(
        self, network: Network | None, answer: Callable[[str], str], banner: str = ''
    ) -> None:
        """Answer every line (without its end) with ``answer``'s text as it is."""
        super().__init__(network)
        self._answer = answer
        self._banner = banner
        self._rest = b''

    def opened(self) -> None:
        """See :class:`Connection`."""
        self.send(self._banner.encode())

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        *lines, self._rest = (self._rest + data).split(b'\n')
        if len(self._rest) > MAX_LINE_BYTES:
            self.abort()
            return
        # One write for all answers: some gripper clients send many requests and read once.
        texts = [line.decode('utf-8', errors='replace').strip('\r') for line in lines]
        self.send(''.join(self._answer(text) for text in texts).encode())


async def listen(host: str, port: int, make: Callable[[], asyncio.Protocol]) -> asyncio.Server:
    """Serve ``port`` of ``host``.

    Raises:
        RobotUnreachable: the address cannot be used.
    """
    try:
        return await asyncio.get_running_loop().create_server(make, host, port)
    except OSError as error:
        mend = (
            'another emulator uses it; choose another 127.0.0.x with --host'
            if error.errno == errno.EADDRINUSE
            else 'choose an address of this machine with --host'
        )
        raise RobotUnreachable(
            f'Cannot listen on {host}:{port} ({error.strerror}): {mend}.'
        ) from error
