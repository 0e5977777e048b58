# SPDX-License-Identifier: Apache-2.0
"""The supervisor: order, readiness, and that nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sqil_ros import supervisor
from sqil_ros.graph import Process
from sqil_ros.supervisor import ProcessEnded, Supervisor

PROGRAMS = {
    'slow_starter': """
import time
time.sleep(0.5)
print("now ready", flush=True)
time.sleep(600)
""",
    'sleeper': 'import time; print("hello", flush=True); time.sleep(600)',
    'quitter': 'import sys; print("no robot here", flush=True); sys.exit(3)',
    'deaf': """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
""",
    'parent': """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import signal, time; '
    'signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)'])
print(f"child {child.pid}", flush=True)
time.sleep(600)
""",
}


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in PROGRAMS.items():
        (tmp_path / f'{name}_program.py').write_text(text)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get('PYTHONPATH', '')]))
    monkeypatch.setenv('PYTHONPATH', path)


def process(name: str, ready: str = '') -> Process:
    return Process(name, f'{name}_program', ready)


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f'not within {timeout_s} s'
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        status = Path(f'/proc/{pid}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(')')[2].split()[0] != 'Z'


def test_the_next_process_waits_for_the_one_before_it() -> None:
    lines: list[str] = []
    with Supervisor([process('slow_starter', 'ready'), process('sleeper')], lines.append):
        until(lambda: len(lines) == 2)
        assert lines == ['[slow_starter] now ready', '[sleeper] hello']


def test_an_end_is_reported_with_status_and_last_words() -> None:
    with (
        pytest.raises(ProcessEnded, match=r'(?s)quitter ended with status 3.*no robot here'),
        Supervisor([process('sleeper'), process('quitter')], str) as running,
    ):
        running.wait()


def test_a_process_that_ends_before_it_is_ready_stops_the_others() -> None:
    lines: list[str] = []
    graph = [process('parent', 'child'), process('quitter', 'never said')]
    with pytest.raises(ProcessEnded, match='quitter'), Supervisor(graph, lines.append):
        pytest.fail('entered although a process was never ready')
    child = int(lines[0].split()[-1])
    until(lambda: not alive(child))


def test_a_process_that_is_never_ready_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, 'READY_TIMEOUT_S', 1.0)
    with (
        pytest.raises(ProcessEnded, match=r'sleeper was not ready within 1 s'),
        Supervisor([process('sleeper', 'never said')], str),
    ):
        pytest.fail('entered although the process was never ready')


def test_grandchildren_and_the_deaf_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, 'STOP_TIMEOUT_S', 0.5)
    lines: list[str] = []
    with Supervisor([process('parent', 'child'), process('deaf', 'ready')], lines.append):
        child = int(lines[0].split()[-1])
        assert alive(child)
    until(lambda: not alive(child))
    assert any('deaf' in line and 'killed' in line for line in lines)


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_processes_do_not_outlive_their_supervisor(number: signal.Signals, tmp_path: Path) -> None:
    program = (
        'from sqil_ros.graph import Process\n'
        'from sqil_ros.supervisor import Supervisor, end_on_sigterm\n'
        'end_on_sigterm()\n'
        'with Supervisor([Process("sleeper", "sleeper_program", "hello")]) as running:\n'
        '    print(running.pids()["sleeper"], flush=True)\n'
        '    running.wait()\n'
    )
    owner = subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == '[sleeper] hello\n'
    sleeper = int(owner.stdout.readline())
    owner.send_signal(number)
    owner.wait(30.0)
    until(lambda: not alive(sleeper))


def test_help_lists_every_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert supervisor.main(['--help']) == 0
    text = capsys.readouterr().out
    assert all(f'{argument.name}:=' in text for argument in supervisor.POLICY_ARGUMENTS)


@pytest.mark.parametrize(('words', 'status'), [(['--sim'], 2), (['use_sim:=false'], 1)])
def test_bad_words_are_refused(
    words: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert supervisor.main(words) == status
    assert capsys.readouterr().err.count('\n') == 1
