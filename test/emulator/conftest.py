# SPDX-License-Identifier: Apache-2.0
"""Emulators in processes of their own, and clients in theirs: a crash of either stays there."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqil_ros.contract import Contract
from sqil_ros.sim.side_channel import SideChannel

LIFETIME_S = 180
CLIENTS = Path(__file__).parent / 'clients'
REPOSITORY = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.emulator)


def free_host() -> str:
    """An address that no other test run on this machine is likely to use."""
    pick = random.Random(os.urandom(8))
    return f'127.{pick.randint(16, 250)}.{pick.randint(0, 250)}.{pick.randint(2, 250)}'


class Emulator:
    """A running emulator."""

    def __init__(self, *arguments: str) -> None:
        self.host = free_host()
        self.process = subprocess.Popen(
            [
                sys.executable, '-m', 'sqil_ros.sim.ur_controller', '--host', self.host,
                '--lifetime', str(LIFETIME_S), '--watch-parent', *arguments,
            ],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith('ready '), f'the emulator said {line!r}'
        self.channel = SideChannel(self.host, timeout_s=10.0)

    def statistics(self) -> dict[str, Any]:
        return self.channel.request('statistics')

    def fault(self, kind: str, **values: float) -> None:
        self.channel.request('fault', kind=kind, **values)

    def stop(self) -> None:
        self.channel.close()
        self.process.terminate()
        try:
            self.process.wait(10.0)
        finally:
            self.process.kill()


@pytest.fixture
def start() -> Iterator[Callable[..., Emulator]]:
    """Start emulators with command line arguments."""
    running: list[Emulator] = []

    def begin(*arguments: str) -> Emulator:
        running.append(Emulator(*arguments))
        return running[-1]

    yield begin
    for emulator in running:
        emulator.stop()


@pytest.fixture(scope='module')
def shared() -> Iterator[Emulator]:
    emulator = Emulator()
    yield emulator
    emulator.stop()


@pytest.fixture
def robot(shared: Emulator) -> Emulator:
    """The module's e-Series robot at 125 Hz, at home and free of faults."""
    for kind in ('release', 'unfreeze', 'allow_remote'):
        shared.fault(kind)
    shared.fault('unlock_delay', seconds=0.0)
    shared.fault('speed_slider', fraction=1.0)
    dashboard(shared.host, 'stop', 'brake release')
    go_home(shared)
    return shared


def go_home(emulator: Emulator) -> None:
    """Send the arm home by one line of URScript, as many tools do."""
    home = np.array(Contract.load().home)
    with socket.create_connection((emulator.host, 30002), 5.0) as link:
        link.sendall(f'movej({home.tolist()}, a=10.0, v=3.0)\n'.encode())
        end = time.monotonic() + 10.0
        while time.monotonic() < end:
            found = emulator.statistics()
            there = np.abs(np.array(found['joints']) - home).max() < 1e-6
            if there and found['program'] == 'stopped' and found['uploads']:
                return
            time.sleep(0.02)
    pytest.fail(f'the arm did not come home: {found}')


@pytest.fixture
def client() -> Callable[..., dict[str, Any]]:
    return run_client


@pytest.fixture
def begin() -> Callable[..., subprocess.Popen[str]]:
    return begin_client


@pytest.fixture
def panel() -> Callable[..., list[str]]:
    return dashboard


def dashboard(host: str, *commands: str) -> list[str]:
    """Replies of the dashboard over a plain socket."""
    with socket.create_connection((host, 29999), 5.0) as link:
        lines = link.makefile('rw', newline='\n')
        lines.readline()
        replies = []
        for command in commands:
            lines.write(command + '\n')
            lines.flush()
            replies.append(lines.readline().strip())
    return replies


def begin_client(name: str, host: str, **values: Any) -> subprocess.Popen[str]:
    """Start scenario ``name`` (file.function under clients/) in a child process."""
    file, function = name.split('.')
    return subprocess.Popen(
        [sys.executable, str(CLIENTS / f'{file}.py'), function, host, json.dumps(values)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {'PYTHONPATH': str(REPOSITORY)},
    )


def run_client(name: str, host: str, deadline: float = 40.0, **values: Any) -> dict[str, Any]:
    """Run a scenario and return what it found; it may not take longer than ``deadline`` [s]."""
    child = begin_client(name, host, **values)
    try:
        output, _ = child.communicate(timeout=deadline)
    finally:
        child.kill()
        child.wait()
    assert output.strip(), f'{name} died with {child.returncode} and said nothing'
    result = json.loads(output.strip().splitlines()[-1])
    assert 'exception' not in result, result['exception']
    return result
