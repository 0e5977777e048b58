# SPDX-License-Identifier: Apache-2.0
"""A test against the clock is repeated after a stall, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest
import realtime

FLAKY = """
import pytest
runs = []

@pytest.mark.emulator
def test_in_real_time():
    runs.append(1)
    assert len(runs) > {failures}

def test_of_logic():
    assert {logic}
"""


class Quiet:
    """Witnesses that report what the test wants."""

    def __init__(self, stall_s, ahead):
        self.stall_s, self.ahead = stall_s, ahead

    def longest(self, begin_s):
        return self.stall_s

    def wait_for_calm(self):
        pass

    def close(self):
        pass


@pytest.fixture
def run(pytester, monkeypatch):
    def go(stall_s, failures, logic=True, arguments=(), ahead=True):
        monkeypatch.setattr(realtime, 'Witnesses', lambda: Quiet(stall_s, ahead))
        pytester.makeini('[pytest]\nmarkers = emulator: x\n')
        pytester.makepyfile(FLAKY.format(failures=failures, logic=logic))
        return pytester.runpytest_inprocess('-rs', *arguments, plugins=[realtime])

    return go


def test_a_pass_stands_whatever_the_machine_did(run):
    run(stall_s=9.0, failures=0).assert_outcomes(passed=2)


def test_a_failure_on_a_calm_machine_stands(run):
    result = run(stall_s=0.01, failures=1)
    result.assert_outcomes(passed=1, failed=1)


def test_a_failure_in_a_stall_runs_again(run):
    result = run(stall_s=0.1, failures=2)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(['DISTURBED *stood still for 100 ms'])


def test_a_machine_that_never_calms_down_is_named_as_the_reason(run):
    result = run(stall_s=0.1, failures=3)
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(['SKIPPED*disturbed 3 times*0.100 s'])


def test_where_our_own_load_may_be_the_stall_the_last_failure_stands(run):
    run(stall_s=0.1, failures=2, ahead=False).assert_outcomes(passed=2)
    run(stall_s=0.1, failures=3, ahead=False).assert_outcomes(passed=1, failed=1)


def test_every_try_has_the_time_of_a_whole_test(run, pytester):
    pytester.makeconftest("""
        def pytest_runtest_setup(item):
            print('TIME', item.name, [mark.args for mark in item.iter_markers('timeout')])
    """)
    result = run(stall_s=0.0, failures=0, arguments=['-s', '-o', 'timeout=100'])
    lines = [line.strip('.') for line in result.outlines if 'TIME' in line]
    assert lines[0].endswith('test_in_real_time [(480.0,)]')
    assert lines[1].endswith('test_of_logic []')


def test_logic_is_never_excused(run):
    run(stall_s=9.0, failures=0, logic=False).assert_outcomes(passed=1, failed=1)


def test_the_longest_stall_since_a_moment_is_found():
    witnesses = realtime.Witnesses()
    try:
        with Path(witnesses.path).open('a') as file:
            file.write('1e12 1000000000000.25 0\n1e12 1000000000000.5 1\n')
        assert witnesses.longest(0.0) == pytest.approx(0.5)
        assert witnesses.longest(2e12) == 0.0
    finally:
        witnesses.close()
