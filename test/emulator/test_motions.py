# SPDX-License-Identifier: Apache-2.0
"""The unmodified ur_rtde clients on a healthy robot."""

from __future__ import annotations

import math

import numpy as np
import pytest


@pytest.mark.parametrize('version', ['5.12.0.0', '3.15.8.106339'])
def test_every_client_connects(start, version, client):
    emulator = start('--version', version)
    found = client('motions.connect_all', emulator.host)
    assert found['connected'] == [True, True, True]
    assert found['program_running'] and found['running']
    assert found['slider_arrived']
    assert found['digital'] == 1 << 2 | 1 << 16
    assert found['analog'] == pytest.approx(0.25)
    assert found['time_passed'] > 0.0
    assert (found['robot_mode'], found['safety_mode']) == (7, 1)
    assert found['version'] == version
    assert found['program_state'].startswith('PLAYING')
    assert found['mode_text'] == 'Robotmode: RUNNING'
    assert found['safety_text'] == 'Safetymode: NORMAL'


def test_moves_arrive_where_and_when_they_should(robot, client):
    found = client('motions.moves', robot.host)
    for name in ('moveJ', 'moveL', 'path', 'path_by_joints', 'moveJ_IK', 'moveL_FK'):
        assert found[name] is True, name
        assert found[f'{name}_error'] < 1e-4, name
    # 0.3 rad at 1.4 rad/s^2 never reaches full speed; 0.1 m at 0.25 m/s does.
    assert found['moveJ_seconds'] >= 2.0 * math.sqrt(0.3 / 1.4)
    assert found['moveL_seconds'] >= 0.1 / 0.25 + 0.25 / 1.2
    assert robot.statistics()['program_error'] == ''


def test_upper_range_registers(robot, client):
    found = client('motions.upper_registers', robot.host)
    assert found['moved'] is True
    assert found['error'] < 1e-4


def test_an_asynchronous_move_can_be_stopped_on_the_way(robot, client):
    found = client('motions.stop_on_the_way', robot.host)
    assert found['moving'] and found['back']
    assert found['progress'] >= 0 > found['progress_after']
    assert found['speed_after'] < 0.01
    assert 0.01 < found['rose'] < 0.15


@pytest.mark.parametrize('joints', [False, True], ids=['servoL', 'servoJ'])
def test_servo_stream_is_followed_with_the_modelled_lag(robot, joints, client):
    found = client('motions.servo', robot.host, joints=joints)
    assert found['accepted'] and found['stopped'] and found['at_rest'] and found['move_after']
    # 0.04 s of lag and a few cycles of transport, at 0.13 m/s or rad/s in the median.
    assert 0.002 < found['median_lag'] < 0.02
    assert robot.statistics()['commands']['servoJ' if joints else 'servoL'] >= 125


def test_a_move_needs_servo_stop_first(robot, client):
    found = client('motions.move_while_servoing', robot.host)
    assert found == {'moveJ': False, 'running': False}
    assert 'servoStop' in robot.statistics()['program_error']


def test_speed_goes_on_until_it_is_stopped(robot, client):
    found = client('motions.speed', robot.host)
    np.testing.assert_allclose(found['twist'], [0, 0, 0.05, 0, 0, 0], atol=1e-3)
    np.testing.assert_allclose(found['joint_speed'], [0.2, 0, 0, 0, 0, 0], atol=1e-3)
    assert found['stopped'] and found['back']
    assert found['drift'] < 1e-3


def test_programs_are_stopped_uploaded_and_replaced(robot, client):
    found = client('motions.programs', robot.host)
    assert found['stopped'] and found['running_again'] and found['reupload']
    assert found['move_when_stopped'] is False
    assert found['custom'] is True
    assert found['custom_error'] < 1e-4
    assert found['back'] and found['second']


def test_queries_answer_with_the_arms_kinematics(start, client):
    emulator = start()
    found = client('motions.queries', emulator.host)
    assert found['ik_error'] < 1e-5
    assert found['fk_error'] < 1e-9
    assert (found['has'], found['has_far'], found['within']) == (True, False, True)
    assert found['steady'] is True
    np.testing.assert_allclose(found['trans'], [1, 1, 0, 0, 0, math.pi / 2], atol=1e-9)
    assert found['step_time'] == pytest.approx(0.008)
    assert found['tcp'][2] == pytest.approx(0.156)
    assert found['payload'] == pytest.approx(1.5)
    assert found['flange_error'] < 1e-9
    assert found['tool_length'] == pytest.approx(0.156)
    assert found['ik_far'] == []
    assert found['running_after'] is False
