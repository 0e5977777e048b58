# SPDX-License-Identifier: Apache-2.0
"""Where the processes of policies come from: a parent that has imported what they compute with.

Importing torch and transformers takes seconds of a processor that the acting policy needs, for
every profile anew. A fork of a process that has done it takes milliseconds and shares its memory.
The parent computes nothing and has no threads: a fork would not take them along.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection

from sqil_ros.child_process import start_module
from sqil_ros.errors import PolicyLost
from sqil_ros.policy.server import serve

_IMPORT_S = 60.0
_LONGEST_ANSWER = 16


class ForkedProcess:
    """A process that is no child of this one, held so that its number cannot pass to another."""

    def __init__(self, pid: int) -> None:
        """Take hold of ``pid``."""
        self.pid = pid
        self._handle = os.pidfd_open(pid)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._handle >= 0 and not select.select([self._handle], [], [], 0.0)[0]

    def interrupt(self) -> None:
        """End it at once, and keep hold of it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def kill(self) -> None:
        """End it at once and let go of it."""
        if self._handle < 0:
            return
        self.interrupt()
        select.select([self._handle], [], [])
        os.close(self._handle)
        self._handle = -1


class Nursery:
    """The near side; :meth:`fork` may be called from any thread."""

    def __init__(self, preload: str = '') -> None:
        """Prepare; the parent process starts with the first :meth:`fork`.

        Args:
            preload: module that every process shall find imported.
        """
        self._preload = preload
        self._parent: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None
        self._one_by_one = threading.Lock()

    def fork(self, end: int) -> ForkedProcess:
        """A new process that serves a policy on the connection with file descriptor ``end``.

        Raises:
            PolicyLost: the parent process died or is silent; the next call starts another.
        """
        with self._one_by_one:
            orders = self._orders or self._begin()
            with contextlib.suppress(OSError):  # it died; said below
                socket.send_fds(orders, [b'fork'], [end])
                if select.select([orders], [], [], _IMPORT_S)[0] and (
                    answer := orders.recv(_LONGEST_ANSWER)
                ):
                    return ForkedProcess(int(answer))
            self.close()
        raise PolicyLost(
            'The process that policies are forked from died or is silent; its last words are in '
            'the log above. Ask for the profile again.'
        )

    def close(self) -> None:
        """End the parent; what it has forked lives on."""
        if self._orders is not None:
            self._orders.close()
        if self._parent is not None:
            self._parent.kill()
            self._parent.wait()
        self._orders = self._parent = None

    def _begin(self) -> socket.socket:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._parent = start_module(
                __name__, theirs.fileno(), self._preload, OPENBLAS_NUM_THREADS='1'
            )
        return self._orders


def main() -> None:
    """The parent: fork for every order, until the node is gone. Never returns."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    if sys.argv[2]:
        importlib.import_module(sys.argv[2])
    gc.freeze()  # a collection in a child would copy the pages that it looks at
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    end = _next_child(orders)
    if end is not None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()  # precedence is given to sessions; see ``go_first``
        with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
            serve(Connection(end))
    sys.stderr.flush()
    os._exit(0)


def _next_child(orders: socket.socket) -> int | None:
    """Fork until the node is gone: the end of a connection in a child, None in the parent."""
    while True:
        message, ends, _, _ = socket.recv_fds(orders, _LONGEST_ANSWER, 1)
        if not message:
            return None
        pid = os.fork()
        if pid == 0:
            orders.close()
            return ends[0]
        os.close(ends[0])
        orders.send(str(pid).encode())


if __name__ == '__main__':
    main()
