# SPDX-License-Identifier: Apache-2.0
"""The facts that decide how our robot worker is built: each fault as the real clients meet it."""

from __future__ import annotations

import time

import numpy as np
import pytest


def wait_at_rest(emulator, seconds):
    """Seconds until the arm stood still, infinite if it did not in time."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if np.abs(emulator.statistics()['joint_speeds']).max() < 1e-3:
            return time.monotonic() - start
        time.sleep(0.01)
    return float('inf')


def wait_said(child, word):
    for line in child.stdout:
        if word in line:
            return
    pytest.fail(f'the client ended before it said {word!r}')


def test_a_nan_is_accepted_and_ends_the_program(robot, client):
    found = client('faults.nan_pose', robot.host)
    assert found == {'accepted': True, 'ended': True, 'next': False, 'at_rest': True}
    assert 'nan' in robot.statistics()['program_error'].lower()


def test_upload_alone_dies_on_the_old_command(robot, client):
    found = client('faults.recovery_after_nan', robot.host)
    assert found['naive'] is False
    assert found['servo_stop'] is False
    assert found['recovered'] and found['moves']


def test_an_unreachable_move_ends_the_program_with_the_arm_at_rest(robot, client):
    found = client('faults.unreachable', robot.host)
    assert found == {'moved': False, 'running': False, 'at_rest': True}
    assert 'reach' in robot.statistics()['program_error']


def test_watchdog_stops_a_silent_client(start, client):
    emulator = start()
    found = client('faults.watchdog', emulator.host)
    assert found['streamed'] == -1
    assert found['refused_without_servo_stop'] and found['ended'] and found['at_rest']
    assert 0.09 < found['seconds'] < 0.5
    assert emulator.statistics()['watchdog_trips'] == 1


def test_watchdog_and_blocking_moves_exclude_each_other(robot, client):
    before = robot.statistics()['watchdog_trips']
    found = client('faults.watchdog_and_move', robot.host)
    assert found['moved'] is False
    assert found['seconds'] < 1.0
    assert robot.statistics()['watchdog_trips'] == before + 1


def test_the_arm_outlives_its_client_without_a_watchdog(robot, begin):
    child = begin('faults.run_until_killed', robot.host, watched=False)
    wait_said(child, 'moving')
    child.kill()
    child.wait()
    time.sleep(0.5)
    found = robot.statistics()
    assert found['program'] == 'playing'
    assert found['tcp_speed'][2] == pytest.approx(0.05, abs=0.002)


def test_with_a_watchdog_it_does_not(robot, begin):
    child = begin('faults.run_until_killed', robot.host, watched=True)
    wait_said(child, 'moving')
    child.kill()
    child.wait()
    assert wait_at_rest(robot, 2.0) < 0.5
    assert robot.statistics()['program'] == 'stopped'


def test_protective_stop_and_the_order_of_recovery(robot, client):
    found = client('faults.protective_stop', robot.host)
    assert 0 <= found['calls_until_refused'] <= 30
    assert (found['stopped'], found['safety_mode'], found['paused']) == (True, 3, True)
    assert found['at_rest']
    assert 'Cannot unlock' in found['early_unlock']
    assert found['register_cleared'] is False
    assert found['running'] and found['moves_again']
    assert found['streams_again'] == -1
    assert found['crept'] < 1e-3


def test_play_after_a_protective_stop_goes_on_to_the_old_target(robot, client):
    found = client('faults.play_after_protective_stop', robot.host)
    assert found['stood_at'] < 0.09
    assert found['went_on'] is True
    assert found['state'] == 2


def test_emergency_stop_during_a_move(robot, client):
    found = client('faults.emergency_stop', robot.host)
    assert found['rest'] and found['seconds'] < 0.5
    assert found['stopped'] is True
    assert found['modes'] == [3, 7]
    assert found['blocking_move'] is False
    assert found['play'] == 'refused'
    assert found['power_under_stop'] == 3
    assert found['ready'] and found['running'] and found['moves_again']


def test_frozen_output_goes_silently_stale(robot, client):
    found = client('faults.frozen', robot.host)
    assert found['gone'] and 2.0 < found['seconds'] < 4.5
    assert found['stamp_stuck'] and found['still_answers']


def test_dropped_link_can_be_made_again(robot, client):
    assert client('faults.dropped', robot.host) == {'gone': True, 'again': True}


def test_the_robot_survives_what_a_dropped_control_client_does(start, begin, client):
    emulator = start()
    child = begin('faults.dropped_control', emulator.host)
    wait_said(child, 'streaming')
    emulator.fault('drop', seconds=1.0)
    time.sleep(1.5)
    child.kill()
    child.wait()
    time.sleep(0.3)
    found = client('motions.stop_on_the_way', emulator.host)
    assert found['moving'] and found['back']


def test_local_mode_refuses_the_control_client(robot, client):
    found = client('faults.remote_control_refused', robot.host)
    assert 'remote control' in found['message']
    assert found['allowed'] is True


def test_inputs_belong_to_one_connection(robot, client):
    found = client('faults.inputs_in_use', robot.host)
    assert all('already in use' in message for message in found['messages'])
    assert found['free_again'] and found['first_unharmed']


def test_unknown_field_is_named(robot, client):
    assert 'no_such_field' in client('faults.unknown_field', robot.host)['message']
