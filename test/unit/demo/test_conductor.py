# SPDX-License-Identifier: Apache-2.0
"""The conductor against a stage and a scene that play their parts by script."""

import numpy as np
import pytest

from sqil_ros.contract import Contract
from sqil_ros.demo import conductor
from sqil_ros.demo.conductor import Conductor
from sqil_ros.demo.plan import plan
from sqil_ros.errors import RobotFault


class Clock:
    """Time that passes only in sleep."""

    def __init__(self):
        self.now_s = 100.0
        self.sleepers = []

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds
        for wake in self.sleepers:
            wake()


class FakeStage:
    def __init__(self, clock, period_s=0.2, fault_after=None):
        self.log, self.fault, self.complaint = [], '', 'the camera is dark'
        self.latency_ms, self.films = [], ([], [])
        self._clock, self._period_s, self._fault_after = clock, period_s, fault_after
        self._start_s = None
        clock.sleepers.append(self._act)

    def order(self, name):
        self.log.append(name)
        if name == 'reset_fault':
            self.fault = ''

    def instruct(self, instruction):
        self.log.append(f'instruct {instruction}')

    def begin(self, episode_id, **fields):
        self.log.append(f'begin {episode_id} {fields["seed"]}')
        self.latency_ms, self._start_s = [], self._clock.now_s
        self.films = tuple([np.zeros((8, 8, 3), np.uint8)] for _ in range(2))

    def end(self, success, message):
        self.log.append(f'end {success}')
        self._start_s = None

    def _act(self):
        if self._start_s is None or self.fault:
            return
        due = int((self._clock.now_s - self._start_s) / self._period_s + 1e-6)
        self.latency_ms += [40.0] * (due - len(self.latency_ms))
        if self._fault_after is not None and due >= self._fault_after:
            self.fault = 'emergency_stop: the button is pressed'


class FakeScene:
    def __init__(self, stage, done_after=None):
        self.stage, self.done_after = stage, done_after

    def request(self, cmd, **fields):
        if cmd == 'reset':
            self.stage.log.append(f'reset {fields["seed"]} {fields["task"]}')
            return {'ok': True}
        assert cmd == 'success'
        done = self.done_after is not None and len(self.stage.latency_ms) >= self.done_after
        return {'success': done}


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(conductor, 'time', made)
    return made


def perform(stage, scene, max_steps=30):
    episode = plan(['lift_eggplant'], 1)[0]
    seen = []
    made = Conductor(stage, scene, Contract.load(), max_steps=max_steps)
    return made.perform(episode, seen.append), seen


def test_success_ends_the_episode_and_the_arm_rests(clock):
    stage = FakeStage(clock)
    outcome, seen = perform(stage, FakeScene(stage, done_after=12))
    assert outcome.success and outcome.steps == 12 and not outcome.fault
    assert seen == sorted(seen) and seen[-1] == 12
    assert outcome.latency_ms == (40.0,) * 12
    assert all(film.startswith(b'\xff\xd8') for film in outcome.films) and len(outcome.films) == 2
    assert stage.log == [
        'home',
        'reset 10000 lift_eggplant',
        'instruct lift the eggplant',
        'arm',
        'begin lift_eggplant-10000 10000',
        'end True',
        'stop',
    ]


def test_the_last_action_is_judged_before_the_steps_run_out(clock):
    stage = FakeStage(clock)
    outcome, _ = perform(stage, FakeScene(stage))
    assert not outcome.success and not outcome.fault
    assert outcome.steps == 30
    assert 30 * 0.2 + 0.05 < outcome.seconds < 30 * 0.2 + 0.2
    assert stage.log[-1] == 'stop'


def test_a_fault_ends_the_episode_by_name_and_is_reset(clock):
    stage = FakeStage(clock, fault_after=5)
    outcome, _ = perform(stage, FakeScene(stage, done_after=20))
    assert not outcome.success
    assert 'emergency_stop' in outcome.fault
    assert stage.log[-2:] == ['end False', 'reset_fault']


def test_a_silent_policy_is_not_waited_for_for_ever(clock):
    stage = FakeStage(clock, period_s=10.0)
    outcome, _ = perform(stage, FakeScene(stage))
    assert not outcome.success
    assert 'the camera is dark' in outcome.fault
    assert '30 actions' in outcome.fault
    assert outcome.seconds < 15.0


def refuse_home(stage, times):
    """Let the robot refuse to go home so many times."""
    left, order = [times], stage.order

    def refuse(name):
        if name == 'home' and left[0]:
            left[0] -= 1
            raise RobotFault(f'{name}: the control program stopped')
        order(name)

    stage.order = refuse


def test_a_robot_that_does_not_come_home_ends_the_demo(clock):
    stage = FakeStage(clock)
    refuse_home(stage, times=2)
    with pytest.raises(RobotFault, match='home'):
        perform(stage, FakeScene(stage))


def test_a_robot_that_comes_home_after_a_reset_goes_on(clock):
    stage = FakeStage(clock)
    refuse_home(stage, times=1)
    outcome, _ = perform(stage, FakeScene(stage, done_after=10))
    assert outcome.success and stage.log[:2] == ['reset_fault', 'home']
