# SPDX-License-Identifier: Apache-2.0
"""The controller cycle by cycle, without sockets: handshake, threads, stops, watchdog."""

from __future__ import annotations

import numpy as np
import pytest

from sqil_ros.contract import Contract
from sqil_ros.errors import ParameterError
from sqil_ros.geometry import vector_from_pose
from sqil_ros.sim.ur_controller.controller import Controller, Settings
from sqil_ros.sim.ur_controller.dashboard import Dashboard
from sqil_ros.sim.ur_controller.fields import INPUT_DOUBLE, INPUT_INT, OUTPUT_DOUBLE, OUTPUT_INT
from sqil_ros.sim.ur_controller.plant import KinematicPlant
from sqil_ros.sim.ur_controller.program_text import MoveStatement, ProgramText
from sqil_ros.sim.ur_controller.state import RuntimeState

HOME = np.array(Contract.load().home)
MOVE_J, SPEED_L, SERVO_J, SERVO_STOP, SERVO_L, WATCHDOG, PATH = 1, 10, 11, 16, 24, 35, 45


class Bench:
    """A controller whose clock the test turns."""

    def __init__(self, offset=0, path=(), **settings):
        self.controller = Controller(
            Settings('127.0.0.1', 125.0, (5, 12, 0, 0), **settings), KinematicPlant(HOME)
        )
        self.robot = self.controller.robot
        self.panel = Dashboard(self.controller)
        self.offset = offset
        self.text = ProgramText('rtde_control', False, True, offset, tuple(path))
        self.now = 100.0
        self.cycles(1)
        self.start()

    def start(self):
        self.controller.upload(self.text)
        self.cycles(10)

    def cycles(self, count):
        for _ in range(count):
            self.now += self.robot.step_time
            self.controller.cycle(self.now)

    def send(self, command, doubles=(), flag=None):
        values = {INPUT_INT[self.offset]: command}
        names = INPUT_DOUBLE[self.offset : self.offset + len(doubles)]
        values |= dict(zip(names, map(float, doubles), strict=True))
        if flag is not None:
            values[INPUT_INT[self.offset + 1]] = flag
        self.robot.registers.write(values, self.now)
        self.cycles(1)

    @property
    def answer(self):
        return self.robot.registers.outputs[OUTPUT_INT[self.offset]]

    @property
    def runtime(self):
        return self.controller.runtime


@pytest.mark.parametrize('offset', [0, 24])
def test_a_command_is_done_once_and_ready_after_it_was_cleared(offset):
    bench = Bench(offset)
    assert bench.runtime is RuntimeState.PLAYING and bench.answer == 1
    bench.send(MOVE_J, [*(HOME + 0.05), 1.0, 2.0], flag=0)
    assert bench.answer == 1
    bench.cycles(100)
    assert bench.answer == 2
    np.testing.assert_allclose(bench.robot.q, HOME + 0.05, atol=1e-6)
    # It still stands in the register, with another target: nothing happens before it is cleared.
    bench.send(MOVE_J, [*HOME, 1.0, 2.0])
    bench.cycles(50)
    np.testing.assert_allclose(bench.robot.q, HOME + 0.05, atol=1e-6)
    bench.send(0)
    assert bench.answer == 1


def test_streaming_commands_are_ready_at_once_and_repeat_harmlessly():
    bench = Bench()
    target = vector_from_pose(bench.robot.arm.pose())
    target[0] += 0.02
    bench.send(SERVO_L, [*target, 0, 0, 0.008, 0.1, 300])
    for _ in range(100):
        assert bench.answer == 1
        bench.cycles(1)
    reached = vector_from_pose(bench.robot.arm.pose_at(bench.robot.q))
    np.testing.assert_allclose(reached, target, atol=1e-5)
    bench.send(SERVO_STOP, [10.0])
    bench.cycles(2)
    assert bench.answer == 2


def test_an_unknown_command_is_done_and_a_stop_command_ends_the_program():
    bench = Bench()
    bench.send(199)
    assert bench.answer == 2
    bench.send(0)
    bench.send(255)
    assert bench.runtime is RuntimeState.STOPPED


def test_asynchronous_moves_count_operations():
    bench = Bench()
    words = []
    for goal in (HOME + 0.02, HOME):
        bench.send(MOVE_J, [*goal, 1.0, 2.0], flag=1)
        assert bench.answer == 2
        words.append(bench.robot.registers.outputs[OUTPUT_INT[2]])
        bench.send(0)
        bench.cycles(100)
        words.append(bench.robot.registers.outputs[OUTPUT_INT[2]])
    running = [word >> 15 & 1 for word in words]
    operations = [word >> 24 & 0x7F for word in words]
    assert running == [1, 0, 1, 0]
    assert operations == [1, 1, 2, 2]
    assert len({word >> 16 & 0x7F for word in words}) == 4


def test_a_path_reports_each_waypoint():
    legs = [MoveStatement('movej', tuple(HOME + d), False, 1.0, 3.0) for d in (0.02, 0.0)]
    bench = Bench(path=legs)
    bench.send(PATH, flag=1)
    seen = []
    for _ in range(200):
        bench.cycles(1)
        seen.append(bench.robot.registers.outputs[OUTPUT_INT[2]] & 0xFFFF)
    assert [word for word in dict.fromkeys(seen) if word] == [1 << 15, 1 << 15 | 1]
    assert seen[-1] == 0


def test_the_watchdog_hears_only_the_command_register():
    bench = Bench()
    bench.send(WATCHDOG, [10.0])
    bench.send(0)
    for _ in range(30):
        bench.send(0)
    assert bench.runtime is RuntimeState.PLAYING
    for _ in range(20):
        bench.robot.registers.write({INPUT_INT[5]: 1}, bench.now)
        bench.cycles(1)
    assert bench.runtime is RuntimeState.STOPPED
    assert bench.robot.watchdog.trips == 1


def test_two_threads_cannot_move_the_arm():
    bench = Bench()
    bench.send(SERVO_J, [*HOME, 0, 0, 0.008, 0.1, 300])
    bench.send(SPEED_L, [0, 0, 0.1, 0, 0, 0, 1.0, 0.0])
    assert bench.runtime is RuntimeState.STOPPED
    assert 'servo' in bench.controller.statistics.program_error


@pytest.mark.parametrize('command', [MOVE_J, SPEED_L, SERVO_J, SERVO_L])
def test_numbers_that_are_none_end_the_program(command):
    bench = Bench()
    bench.send(command, [np.nan] * 6 + [1.0, 1.0, 0.008, 0.1, 300])
    assert bench.runtime is RuntimeState.STOPPED
    bench.start()
    # The command still stands in the register.
    assert bench.runtime is RuntimeState.STOPPED
    assert np.isfinite(bench.robot.arm.q).all()


@pytest.mark.parametrize('kind', ['protective_stop', 'emergency_stop'])
def test_safety_stops_pause_the_program_with_the_arm_at_rest(kind):
    bench = Bench()
    bench.send(SPEED_L, [0, 0, 0.2, 0, 0, 0, 2.0, 0.0])
    bench.cycles(30)
    bench.controller.faults.inject(kind, {})
    bench.cycles(1)
    assert bench.runtime is RuntimeState.PAUSING
    bench.cycles(40)
    assert bench.runtime is RuntimeState.PAUSED
    assert bench.robot.arm.at_rest
    stood = bench.robot.arm.q.copy()
    assert bench.panel.answer('play') == 'Failed to execute: play\n'
    bench.start()
    assert bench.controller.statistics.refused_uploads == 1
    np.testing.assert_array_equal(bench.robot.arm.q, stood)


def test_nothing_moves_after_release_until_play():
    bench = Bench()
    bench.send(SPEED_L, [0, 0, 0.1, 0, 0, 0, 2.0, 0.0])
    bench.cycles(30)
    bench.controller.faults.inject('emergency_stop', {})
    bench.cycles(60)
    stood = bench.robot.arm.q.copy()
    bench.controller.faults.inject('release', {})
    bench.cycles(20)
    assert bench.panel.answer('play') == 'Failed to execute: play\n'
    bench.panel.answer('power on')
    bench.panel.answer('brake release')
    bench.cycles(20)
    np.testing.assert_array_equal(bench.robot.arm.q, stood)
    assert bench.panel.answer('play') == 'Starting program\n'
    bench.cycles(20)
    assert np.abs(bench.robot.arm.q - stood).max() > 1e-3


def test_unlocking_waits_for_its_delay():
    bench = Bench(unlock_delay=0.5)
    bench.controller.faults.inject('protective_stop', {})
    bench.cycles(10)
    assert bench.panel.answer('unlock protective stop').startswith('Cannot unlock')
    bench.cycles(60)
    assert bench.panel.answer('unlock protective stop') == 'Protective stop releasing\n'
    assert bench.panel.answer('safetymode') == 'Safetymode: NORMAL\n'


def test_the_end_of_a_program_brakes_the_arm():
    bench = Bench()
    bench.send(SPEED_L, [0, 0, 0.2, 0, 0, 0, 2.0, 0.0])
    bench.cycles(30)
    assert bench.panel.answer('stop') == 'Stopped\n'
    before = bench.robot.arm.q.copy()
    bench.cycles(1)
    assert not bench.robot.arm.at_rest
    bench.cycles(20)
    assert bench.robot.arm.at_rest
    assert 0.0 < np.abs(bench.robot.arm.q - before).max() < 0.02


def test_the_speed_slider_slows_moves():
    durations = []
    for fraction in (1.0, 0.5):
        bench = Bench()
        bench.controller.faults.inject('speed_slider', {'fraction': fraction})
        bench.cycles(50)
        bench.send(MOVE_J, [*(HOME + 0.2), 1.0, 2.0], flag=0)
        begin = bench.now
        while bench.answer != 2:
            bench.cycles(1)
        durations.append(bench.now - begin)
    assert durations[1] == pytest.approx(2.0 * durations[0], abs=0.05)


def test_local_mode_takes_no_programs():
    bench = Bench()
    bench.panel.answer('stop')
    bench.controller.faults.inject('refuse_remote', {})
    assert bench.panel.answer('is in remote control') == 'false\n'
    bench.start()
    assert bench.runtime is RuntimeState.STOPPED


@pytest.mark.parametrize(
    ('kind', 'arguments'),
    [('meteor', {}), ('late', {'seconds': -1}), ('late', {'cycles': 'x'}),
     ('drop', {'seconds': float('nan')}), ('speed_slider', {'fraction': True})],
)  # fmt: skip
def test_faults_that_make_no_sense_are_refused(kind, arguments):
    with pytest.raises(ParameterError):
        Bench().controller.faults.inject(kind, arguments)


def test_the_jacobian_is_spread_over_two_register_ranges():
    bench = Bench()
    bench.send(70)
    outputs = bench.robot.registers.outputs
    columns = [outputs[name] for name in OUTPUT_DOUBLE[:24] + OUTPUT_DOUBLE[36:48]]
    expected = bench.robot.arm.jacobian()
    np.testing.assert_allclose(np.reshape(columns, (6, 6)).T, expected)
