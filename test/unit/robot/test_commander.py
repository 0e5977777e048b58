# SPDX-License-Identifier: Apache-2.0
"""Actions become targets of the right epoch at the right time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sqil_ros.contract import Contract
from sqil_ros.geometry import base_link_from_base
from sqil_ros.kinematics import UR5E, forward
from sqil_ros.robot.commander import ActionMessage, Commander
from sqil_ros.robot.protocol import Latch, Mode, RobotState, Target, pose_to_vector
from sqil_ros.safety import Box, Check, SafetyLimits
from sqil_ros.types import Action

CONTRACT = Contract.load()
START = pose_to_vector(base_link_from_base(forward(UR5E, np.array(CONTRACT.home), CONTRACT.tcp)))
ROS, MONO = 1_000_000.0, 50.0


def state(mode: Mode = Mode.ARMED, epoch: int = 1, stamp_s: float = MONO) -> RobotState:
    six = (0.0,) * 6
    return RobotState(
        stamp_s, mode, epoch, CONTRACT.home, six, START, START, six, six, 1.0, 1.0, 7, 1, 2,
        (0,) * (max(Check) + 1), 0,
    )  # fmt: skip


@pytest.fixture
def commander() -> Commander:
    limits = SafetyLimits.for_contract(
        CONTRACT, workspace=Box((0.2, -0.45, -0.05), (0.75, 0.45, 0.6))
    )
    return Commander(limits, 0.15)


def message(z: float = 0.01, sequence: int = 0, observed_s: float = ROS - 0.05) -> ActionMessage:
    action = Action(np.array([0.0, 0.0, z, 0.0, 0.0, 0.0]), 1.0)
    return ActionMessage(action, sequence, 'base_link', '', ROS, observed_s)


def test_nobody_follows_before_arming(commander: Commander) -> None:
    assert commander.on_action(message(), ROS, MONO, 1) is None
    commander.on_state(state(Mode.DISARMED))
    assert commander.on_action(message(), ROS, MONO, 1) is None
    assert commander.last is None


def test_a_target_starts_a_fixed_delay_after_the_image(commander: Commander) -> None:
    commander.on_state(state())
    order = commander.on_action(message(observed_s=ROS - 0.06), ROS, MONO, 1)
    assert isinstance(order, Target)
    assert order.start_s == pytest.approx(MONO - 0.06 + 0.15, abs=1e-6)
    assert commander.late == 0
    late = commander.on_action(message(sequence=1, observed_s=ROS - 0.25), ROS, MONO, 1)
    assert isinstance(late, Target) and late.start_s == MONO
    assert commander.late == 1


def test_targets_accumulate_on_the_commanded_pose_until_a_new_epoch(commander: Commander) -> None:
    commander.on_state(state())
    for sequence in range(3):
        order = commander.on_action(message(sequence=sequence), ROS, MONO, 1)
    assert isinstance(order, Target)
    assert order.pose[2] == pytest.approx(START[2] + 0.03)
    commander.on_state(state(epoch=2))
    order = commander.on_action(message(), ROS, MONO, 1)
    assert isinstance(order, Target)
    assert order.epoch == 2 and order.pose[2] == pytest.approx(START[2] + 0.01)


def test_three_bad_actions_latch_by_name_and_counters_survive_rearming(
    commander: Commander,
) -> None:
    commander.on_state(state())
    orders = [
        commander.on_action(message(z=float('nan'), sequence=k), ROS, MONO, 1) for k in range(3)
    ]
    assert orders[:2] == [None, None]
    assert isinstance(orders[2], Latch) and orders[2].fault == 'malformed_action'
    commander.on_state(state(Mode.DISARMED, epoch=1))
    commander.on_state(state(epoch=2))
    assert commander.counts[Check.MALFORMED] == 3


def test_a_second_publisher_and_an_old_robot_state_are_refused(commander: Commander) -> None:
    commander.on_state(state())
    assert commander.on_action(message(), ROS, MONO, 2) is None
    assert commander.on_action(message(), ROS, MONO + 0.5, 1) is None
    assert commander.counts[Check.COMMANDER] == commander.counts[Check.OBSERVATION_AGE] == 1


def test_cycle_checks_are_counted_with_the_filters(commander: Commander) -> None:
    counts = [0] * (max(Check) + 1)
    counts[Check.CONTACT] = 4
    commander.on_state(dataclasses.replace(state(), check_counts=tuple(counts)))
    assert commander.counts[Check.CONTACT] == 4
