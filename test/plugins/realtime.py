# SPDX-License-Identifier: Apache-2.0
"""Tests against the clock: one that fails while the machine stands still gets another try.

The robot's watchdog is 100 ms, and rightly trips on a computer that stands still for longer. A
test of it that fails while the machine stood still (:mod:`stall_witness`) says nothing about
our code. It waits for calm and runs again; after ``TRIES`` disturbed failures it is skipped,
with the stall as its reason, but only where the witnesses run ahead of everything else: where
they may not, our own load could be what held them up, and the last failure stands. A failure on
a machine that was awake stands at once, and so does every pass.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import stall_witness
from _pytest.runner import runtestprotocol

TRIES = 3
# Two fifths of the watchdog: two such stalls in a row trip it.
DISTURBED_S = 0.04
CALM_S = 3.0
PATIENCE_S = 60.0
MARKS = ('emulator', 'ros')


class Witnesses:
    """The watched cores, and what was seen of them."""

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(prefix='stalls_')  # noqa: SIM115
        self.path = self._file.name
        self._processes = [
            subprocess.Popen(
                [sys.executable, stall_witness.__file__, str(core)], stdout=self._file
            )
            for core in os.sched_getaffinity(0)
        ]

    @property
    def ahead(self) -> bool:
        """Whether no load of ours can hold them up."""
        return all(
            os.sched_getscheduler(process.pid) == os.SCHED_FIFO for process in self._processes
        )

    def longest(self, begin_s: float) -> float:
        """Longest stall [s] that ended after ``begin_s``; 0 if there was none."""
        stalls = [line.split() for line in Path(self.path).read_text().splitlines()]
        return max(
            (float(end) - float(begin) for begin, end, _ in stalls if float(end) > begin_s),
            default=0.0,
        )

    def wait_for_calm(self) -> None:
        """Return when no core stood still for ``CALM_S``, or after ``PATIENCE_S``."""
        give_up_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_s:
            time.sleep(CALM_S)
            if self.longest(time.monotonic() - CALM_S) < DISTURBED_S:
                return

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._file.close()


class RealTime:
    """Runs the tests that are marked as running against the clock."""

    def __init__(self) -> None:
        self.witnesses = Witnesses()
        self.began_s = time.monotonic()
        self.again: list[str] = []

    @pytest.hookimpl(trylast=True)  # after the conftests of the folders have marked their tests
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Give every try the time that a test has otherwise; pytest-timeout counts all of them."""
        for item in filter(_against_the_clock, items):
            own = item.get_closest_marker('timeout')
            one_s = float(own.args[0] if own else config.getini('timeout') or 0.0)
            if one_s:
                item.add_marker(pytest.mark.timeout(TRIES * (one_s + PATIENCE_S)), append=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """Run one test, again if it failed while the machine stood still."""
        if not _against_the_clock(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for left in reversed(range(TRIES)):
            begin_s = time.monotonic()
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
            stall_s = self.witnesses.longest(begin_s)
            if not any(report.failed for report in reports) or stall_s < DISTURBED_S:
                break
            self.again.append(f'{item.nodeid}: the machine stood still for {1e3 * stall_s:.0f} ms')
            if left:
                self.witnesses.wait_for_calm()
                item._initrequest()  # type: ignore[attr-defined]  # fixtures anew
            elif self.witnesses.ahead:
                _excuse(item, reports, stall_s)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how still the machine stood, and what was run again for it."""
        longest_ms = 1e3 * self.witnesses.longest(self.began_s)
        terminalreporter.write_line(f'longest stall of a core: {longest_ms:.0f} ms')
        for line in self.again:
            terminalreporter.write_line(f'DISTURBED {line}')

    def pytest_unconfigure(self) -> None:
        """End the witnesses."""
        self.witnesses.close()


def _against_the_clock(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in MARKS)


def _excuse(item: pytest.Item, reports: list[pytest.TestReport], stall_s: float) -> None:
    path, line, _ = item.location
    reason = f'Skipped: disturbed {TRIES} times; the machine stood still for {stall_s:.3f} s'
    for report in reports:
        if report.failed:
            report.outcome = 'skipped'
            report.longrepr = (path, line or 0, reason)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch the machine."""
    if not config.option.collectonly:
        config.pluginmanager.register(RealTime(), 'realtime tests')
