# SPDX-License-Identifier: Apache-2.0
"""Starts a graph without ros2 launch: one process after the other, and all of them end together.

python -m sqil_ros.supervisor use_sim:=true profile:=int4_rtn
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from sqil_ros.errors import SqilError
from sqil_ros.graph import POLICY_ARGUMENTS, Options, Process, RosNode, environment, policy_graph

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.05


class ProcessEnded(SqilError):
    """A process of the graph ended, or did not become ready."""


def command(process: Process) -> list[str]:
    """The command line of a process of the graph."""
    line = [sys.executable, '-u', '-m', process.module, *process.arguments]
    if not isinstance(process, RosNode):
        return line
    line += ['--ros-args', '-r', f'__node:={process.name}', '--log-level', process.log_level]
    if process.namespace:
        line += ['-r', f'__ns:=/{process.namespace}']
    line += ['--params-file', str(process.params_file)]
    parameters = dict(process.parameters)
    if process.lifecycle:
        parameters['autostart'] = True
    for name, value in parameters.items():
        # JSON is YAML that cannot be misread: "1e3" stays a text and true a truth value.
        line += ['-p', f'{name}:={json.dumps(value)}']
    return line


class Supervised:
    """A running process of the graph, with its output."""

    def __init__(self, process: Process, write: Callable[[str], None]) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches it once, through us."""
        self.name = process.name
        self.ready = threading.Event()
        self._mark = process.ready
        self._write = write
        self._last_lines: deque[str] = deque(maxlen=15)
        # If we are killed, the processes are told: a robot must not run on without its owner.
        guard = ['setpriv', '--pdeathsig', 'INT', '--'] if shutil.which('setpriv') else []
        self.popen = subprocess.Popen(
            [*guard, *command(process)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            env=os.environ | environment(),
            start_new_session=True,
        )
        if not self._mark:
            self.ready.set()
        self._reader = threading.Thread(target=self._read, name=f'{self.name} output', daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self._last_lines.append(line.rstrip())
            self._write(f'[{self.name}] {line.rstrip()}')
            if self._mark and self._mark in line:
                self.ready.set()

    def last_words(self) -> str:
        """The end of its output."""
        if self.popen.poll() is not None:
            self._reader.join(1.0)
        return '\n'.join(self._last_lines)

    def kill_group(self) -> None:
        """End whatever is left of it and of its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self._reader.join(1.0)


class Supervisor:
    """A graph that runs while the ``with`` block does."""

    def __init__(
        self, graph: Sequence[Process], write: Callable[[str], None] | None = None
    ) -> None:
        """Remember what to start; ``write`` receives the log lines, stdout's by default."""
        self._graph = graph
        self._write = write or (lambda line: print(line, flush=True))
        self._running: list[Supervised] = []

    def __enter__(self) -> Supervisor:
        """Start the processes in order, each when the one before it is ready.

        Raises:
            ProcessEnded: one of them ended or was not ready in time; the others were stopped.
        """
        try:
            for process in self._graph:
                self._running.append(Supervised(process, self._write))
                self._wait_until_ready(self._running[-1])
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self.stop()

    def _wait_until_ready(self, started: Supervised) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not started.ready.wait(_POLL_S):
            self.check()
            if time.monotonic() > deadline:
                raise ProcessEnded(
                    f'{started.name} was not ready within {READY_TIMEOUT_S:.0f} s; its output '
                    f'ends with:\n{started.last_words()}'
                )

    def check(self) -> None:
        """Notice a process that has ended; nothing is restarted silently.

        Raises:
            ProcessEnded: names it, its exit status and the end of its output.
        """
        for running in self._running:
            status = running.popen.poll()
            if status is not None:
                raise ProcessEnded(
                    f'{running.name} ended with {_describe(status)}; its output ends with:\n'
                    f'{running.last_words()}'
                )

    def wait(self) -> None:
        """Block until a process ends.

        Raises:
            ProcessEnded: when that happens.
        """
        while True:
            self.check()
            time.sleep(_POLL_S)

    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {running.name: running.popen.pid for running in self._running}

    def stop(self) -> None:
        """Interrupt the processes one after the other, last first; kill what does not end."""
        with _no_interruption():
            for running in reversed(self._running):
                if running.popen.poll() is None:
                    running.popen.send_signal(signal.SIGINT)
                try:
                    running.popen.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    self._write(f'[{running.name}] does not stop and is killed')
                running.kill_group()
        self._running.clear()


@contextmanager
def _no_interruption() -> Iterator[None]:
    """An impatient second Ctrl-C would leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end_on_sigterm() -> None:
    """Make SIGTERM end this program as Ctrl-C does, so that the graph is stopped."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _describe(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f'status {status}'


def _usage() -> str:
    lines = [f'{__doc__}\narguments:']
    for argument in POLICY_ARGUMENTS:
        choices = f' ({", ".join(argument.choices)})' if argument.choices else ''
        lines.append(
            f"  {argument.name}:='{argument.default}'\n      {argument.description}{choices}"
        )
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the policy's graph until it is interrupted or one of its processes ends."""
    words = list(sys.argv[1:] if argv is None else argv)
    if {'-h', '--help'} & set(words):
        print(_usage())
        return 0
    malformed = [word for word in words if ':=' not in word]
    if malformed:
        print(f'{malformed[0]!r} is not of the form name:=value; see --help.', file=sys.stderr)
        return 2
    end_on_sigterm()
    try:
        options = Options.parse(dict(word.split(':=', 1) for word in words))
        with Supervisor(policy_graph(options)) as supervisor:
            supervisor.wait()
    except KeyboardInterrupt:
        return 0
    except SqilError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
