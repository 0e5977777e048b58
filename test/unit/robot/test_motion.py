# SPDX-License-Identifier: Apache-2.0
"""The worker's state machine over a fake arm: when the arm may move, and when it must not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from sqil_ros.robot.motion import Motion
from sqil_ros.robot.protocol import (
    Arm,
    Disarm,
    Faulted,
    Heartbeat,
    Home,
    Latch,
    Message,
    Mode,
    Reply,
    RobotState,
    Target,
)
from sqil_ros.robot.robotiq import NoGripper
from sqil_ros.robot.settings import WorkerSettings
from sqil_ros.safety import Box, Check, SafetyLimits

_spec = importlib.util.spec_from_file_location('fake_arm', Path(__file__).with_name('fake_arm.py'))
assert _spec is not None and _spec.loader is not None
fake_arm = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_arm)
CONTRACT = fake_arm.CONTRACT
DT = 0.008


class Rig:
    """A motion at 125 Hz on a clock of its own, with a node that never forgets its heartbeat."""

    def __init__(self, limits: SafetyLimits) -> None:
        self.arm = fake_arm.FakeArm()
        self.out: list[Message] = []
        self.now = 100.0
        self.alive = True
        self.beating = True
        settings = WorkerSettings('nowhere', limits, CONTRACT.home, CONTRACT.tcp_offset)
        self.motion = Motion(self.arm, NoGripper(), settings, self.out.append, self.now)
        self.state: RobotState = self.run(DT)

    def run(self, seconds: float) -> RobotState:
        for _ in range(max(1, round(seconds / DT))):
            self.now += DT
            if self.beating:
                self.motion.handle(Heartbeat(self.alive, True), self.now)
            self.state = self.motion.cycle(self.now)
        return self.state

    def ask(self, message: Message) -> Reply:
        self.motion.handle(message, self.now)
        reply = self.out[-1]
        assert isinstance(reply, Reply)
        return reply

    def aim(self, *move: float, gripper: float = 1.0) -> None:
        target = np.array(self.state.target)
        target[:3] += move
        self.motion.handle(
            Target(self.state.epoch, self.now, tuple(target.tolist()), gripper), self.now
        )

    @property
    def faults(self) -> list[str]:
        return [message.fault for message in self.out if isinstance(message, Faulted)]


@pytest.fixture
def rig() -> Rig:
    limits = SafetyLimits.for_contract(
        CONTRACT, workspace=Box((0.2, -0.45, -0.05), (0.75, 0.45, 0.6))
    )
    return Rig(limits)


def armed(rig: Rig) -> Rig:
    assert rig.ask(Arm(1, False)).ok
    rig.run(0.05)
    assert rig.state.mode == Mode.ARMED
    return rig


def test_nothing_moves_unless_armed(rig: Rig) -> None:
    rig.aim(0.03, 0.0, 0.0)
    rig.run(1.0)
    assert rig.arm.sent == [] and rig.arm.log == []


def test_an_armed_arm_goes_to_its_target_and_stays(rig: Rig) -> None:
    armed(rig)
    start = rig.arm.now.tcp.position
    rig.aim(0.03, 0.0, 0.0, gripper=0.0)
    rig.run(0.28)
    assert rig.state.gripper == 0.0
    rig.run(0.6)
    assert np.allclose(rig.arm.now.tcp.position - start, [0.03, 0.0, 0.0], atol=1e-4)


def test_a_dry_run_computes_but_sends_nothing(rig: Rig) -> None:
    assert rig.ask(Arm(1, True)).ok
    rig.run(0.05)
    rig.aim(0.03, 0.0, 0.0, gripper=0.0)
    state = rig.run(0.2)
    assert state.mode == Mode.DRY_RUN
    assert state.target[0] == pytest.approx(state.tcp[0] + 0.03)
    assert state.gripper_target == 0.0 and state.gripper == 1.0
    assert rig.arm.sent == [] and rig.arm.log == []


def test_arming_needs_a_workspace(rig: Rig) -> None:
    bare = Rig(SafetyLimits.for_contract(CONTRACT))
    reply = bare.ask(Arm(7, False))
    assert not reply.ok and reply.request == 7 and 'workspace' in reply.message
    assert bare.arm.log == []


def test_arming_needs_a_healthy_controller(rig: Rig) -> None:
    rig.arm.change(robot_mode=5)
    rig.run(DT)
    reply = rig.ask(Arm(1, False))
    assert not reply.ok and 'power the arm on' in reply.message


def test_a_target_made_before_the_arm_was_seeded_anew_is_ignored(rig: Rig) -> None:
    armed(rig)
    rig.motion.handle(
        Target(rig.state.epoch - 1, rig.now, (0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0), 0.0), rig.now
    )
    before = rig.arm.now.tcp.position
    rig.run(0.25)
    assert np.allclose(rig.arm.now.tcp.position, before, atol=1e-9)


def test_a_late_policy_holds_softly_and_a_silent_one_faults(rig: Rig) -> None:
    armed(rig)
    rig.aim(0.04, 0.0, 0.0)
    rig.run(0.34)
    assert rig.state.mode == Mode.HOLD and 'brake' not in rig.arm.log
    rig.aim(0.0, 0.0, 0.0)
    rig.run(0.05)
    assert rig.state.mode == Mode.ARMED
    rig.run(1.1)
    assert rig.faults == ['policy_lost']
    assert rig.arm.log[-2:] == ['brake', 'end']


def test_a_dead_policy_brakes_at_once_and_a_new_one_starts_from_where_the_arm_is(
    rig: Rig,
) -> None:
    armed(rig)
    rig.aim(0.04, 0.0, 0.0)
    rig.run(0.1)
    rig.alive = False
    sent, epoch = len(rig.arm.sent), rig.state.epoch
    rig.run(0.1)
    assert rig.arm.log[0:2] == ['start', 'brake'] and len(rig.arm.sent) == sent
    assert 'kick' in rig.arm.log[2:], 'the watchdog must not end the program meanwhile'
    assert rig.state.epoch == epoch + 1, 'targets made before are void'
    rig.alive = True
    rig.run(0.05)
    assert rig.state.mode == Mode.ARMED
    assert np.allclose(rig.state.target[:3], rig.arm.now.tcp.position, atol=1e-9)


def test_a_touching_arm_goes_back_but_not_on(rig: Rig) -> None:
    armed(rig)
    rig.aim(0.04, 0.0, 0.0)
    rig.run(0.3)
    rig.arm.change(wrench=np.array([-50.0, 0, 0, 0, 0, 0]))
    rig.run(DT)
    assert rig.state.mode == Mode.HOLD and 'brake' in rig.arm.log
    touched, sent = rig.arm.now.tcp.position[0], len(rig.arm.sent)
    rig.aim(0.03, 0.0, 0.0)
    rig.run(0.2)
    assert len(rig.arm.sent) == sent
    rig.aim(-0.03, 0.0, 0.0)
    rig.run(0.2)
    rig.arm.change(wrench=np.zeros(6))
    rig.aim(0.0, 0.0, 0.0)
    rig.run(0.28)
    rig.aim(0.0, 0.0, 0.0)
    rig.run(0.28)
    assert rig.arm.now.tcp.position[0] == pytest.approx(touched - 0.03, abs=1e-4)
    assert rig.state.mode == Mode.ARMED and not rig.faults


def test_a_late_node_holds_and_a_silent_one_faults(rig: Rig) -> None:
    armed(rig)
    rig.aim(0.0, 0.0, 0.0)
    rig.beating = False
    rig.run(0.25)
    assert rig.state.mode == Mode.HOLD
    rig.run(1.0)
    assert rig.faults == ['node_lost'], 'nobody can know about the policy'
    assert rig.state.mode == Mode.FAULT


@pytest.mark.parametrize(
    ('change', 'fault', 'log'),
    [
        ({'safety_mode': 3, 'runtime_state': 4}, 'protective_stop', ['brake', 'end']),
        ({'safety_mode': 7, 'robot_mode': 3}, 'emergency_stop', ['brake', 'end']),
        ({'runtime_state': 1}, 'program_stopped', ['brake', 'end']),
        ({'age_s': 0.2}, 'controller_frozen', []),
        ({'connected': False}, 'link_lost', []),
        ({'wrench': np.array([90.0, 0, 0, 0, 0, 0])}, 'contact_force', ['brake', 'end']),
    ],
)
def test_faults_of_the_controller_are_latched(
    rig: Rig, change: dict[str, object], fault: str, log: list[str]
) -> None:
    armed(rig)
    rig.aim(0.01, 0.0, 0.0)
    rig.arm.log.clear()
    rig.arm.change(**change)
    rig.run(DT)
    assert rig.faults == [fault]
    assert rig.arm.log == log
    assert rig.motion.link_lost == (not log)
    sent = len(rig.arm.sent)
    rig.arm.change(safety_mode=1, robot_mode=7, age_s=0.0, connected=True, wrench=np.zeros(6))
    rig.aim(0.01, 0.0, 0.0)
    assert not rig.ask(Arm(2, False)).ok
    assert not rig.ask(Home(3)).ok
    rig.run(0.5)
    assert rig.state.mode == Mode.FAULT and len(rig.arm.sent) == sent
    assert 'home' not in rig.arm.log


def test_a_stop_that_the_node_asks_for_is_latched(rig: Rig) -> None:
    armed(rig)
    rig.motion.handle(Latch('jump', 'Step of 1 m.'), rig.now)
    assert rig.faults == ['jump'] and rig.arm.log[-2:] == ['brake', 'end']


def test_disarming_brakes_and_keeps_the_program_alive(rig: Rig) -> None:
    armed(rig)
    assert rig.ask(Disarm(4)).ok
    rig.arm.log.clear()
    sent = len(rig.arm.sent)
    rig.run(0.5)
    assert rig.state.mode == Mode.DISARMED
    assert len(rig.arm.sent) == sent and set(rig.arm.log) == {'kick'}
    assert armed(rig).arm.log.count('start') == 0


def test_homing_replies_when_the_arm_has_arrived(rig: Rig) -> None:
    rig.arm.change(joints=fake_arm.HOME + 0.3, joint_speeds=np.full(6, 0.1))
    rig.run(DT)
    rig.motion.handle(Home(9), rig.now)
    rig.run(1.0)
    assert rig.arm.log[:2] == ['start', 'home'] and rig.state.mode == Mode.HOMING
    assert not any(isinstance(message, Reply) for message in rig.out)
    rig.arm.change(joints=fake_arm.HOME, joint_speeds=np.zeros(6))
    rig.run(DT)
    assert rig.out[-1] == Reply(9, True, 'home') and rig.state.mode == Mode.DISARMED
    assert rig.out[-2].mode == Mode.DISARMED, 'the state comes before the answer'


@pytest.mark.parametrize('how', ['stop', 'contact', 'overdue', 'protective'])
def test_homing_can_be_broken_off(rig: Rig, how: str) -> None:
    rig.arm.change(joints=fake_arm.HOME + 0.3)
    rig.run(DT)
    rig.motion.handle(Home(9), rig.now)
    if how == 'stop':
        rig.motion.handle(Disarm(10), rig.now)
    elif how == 'contact':
        rig.arm.change(wrench=np.array([50.0, 0, 0, 0, 0, 0]))
    elif how == 'protective':
        rig.arm.change(safety_mode=3)
    rig.run(10.0)
    replies = [message for message in rig.out if isinstance(message, Reply)]
    assert replies[0].request == 9 and not replies[0].ok
    assert 'stop_moving' in rig.arm.log
    assert rig.state.mode == (Mode.FAULT if how == 'protective' else Mode.DISARMED)


def test_checks_are_counted_once_an_event(rig: Rig) -> None:
    armed(rig)
    rig.aim(0.01, 0.0, 0.0)
    rig.run(0.6)
    assert rig.state.check_counts[Check.COMMAND_AGE] == 1
