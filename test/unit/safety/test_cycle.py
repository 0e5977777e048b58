# SPDX-License-Identifier: Apache-2.0
"""The checks of every robot cycle: silence, controller state, tracking, contact."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sqil_ros.safety import (
    Check,
    CycleMemory,
    CycleResult,
    CycleState,
    Fault,
    SafetyLimits,
    Verdict,
    check_cycle,
)
from sqil_ros.trajectory import Setpoint
from sqil_ros.types import Array, Pose


@pytest.fixture
def healthy(home_pose: Pose, home_joints: Array) -> CycleState:
    return CycleState(
        robot_mode=7,
        safety_mode=1,
        runtime_state=2,
        controller_age_s=0.008,
        connected=True,
        measured=home_pose,
        joints=home_joints,
        wrench=np.zeros(6),
        command_age_s=0.1,
        commander_alive=True,
        node_age_s=0.02,
        deadman_age_s=None,
    )


def at(pose: Pose, linear: float = 0.0) -> Setpoint:
    return Setpoint(pose, 1.0, np.array([linear, 0.0, 0.0]), np.zeros(3))


def judge(state: CycleState, limits: SafetyLimits, setpoint: Setpoint | None) -> CycleResult:
    return check_cycle(state, setpoint, CycleMemory(), limits, 0.0)


def test_a_healthy_cycle_passes(healthy: CycleState, limits: SafetyLimits) -> None:
    assert judge(healthy, limits, at(healthy.measured)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ('change', 'fault'),
    [
        ({'connected': False}, Fault.LINK_LOST),
        ({'controller_age_s': 0.11}, Fault.CONTROLLER_FROZEN),
        ({'safety_mode': 3}, Fault.PROTECTIVE_STOP),
        ({'safety_mode': 6}, Fault.EMERGENCY_STOP),
        ({'safety_mode': 7}, Fault.EMERGENCY_STOP),
        ({'safety_mode': 9}, Fault.ROBOT_NOT_READY),
        ({'robot_mode': 5}, Fault.ROBOT_NOT_READY),
        ({'runtime_state': 4}, Fault.PROGRAM_STOPPED),
        ({'node_age_s': 1.1}, Fault.NODE_LOST),
        ({'command_age_s': 1.1}, Fault.POLICY_LOST),
        ({'deadman_age_s': 1.1}, Fault.DEADMAN_RELEASED),
        ({'wrench': np.array([0, 0, 81.0, 0, 0, 0])}, Fault.CONTACT_FORCE),
    ],
)
def test_stops(
    healthy: CycleState, limits: SafetyLimits, change: dict[str, object], fault: Fault
) -> None:
    result = judge(dataclasses.replace(healthy, **change), limits, at(healthy.measured))
    assert result.verdict is Verdict.STOP
    assert result.fault is fault
    assert result.message


@pytest.mark.parametrize(
    ('change', 'check', 'verdict'),
    [
        ({'node_age_s': 0.21}, Check.PROCESS, Verdict.HOLD),
        ({'command_age_s': 0.31}, Check.COMMAND_AGE, Verdict.HOLD),
        ({'commander_alive': False}, Check.PROCESS, Verdict.BRAKE),
        ({'deadman_age_s': 0.26}, Check.DEADMAN, Verdict.BRAKE),
        ({'wrench': np.array([0, 0, 41.0, 0, 0, 0])}, Check.CONTACT, Verdict.BRAKE),
        ({'wrench': np.array([0, 0, 0, 0, 0, 9.0])}, Check.CONTACT, Verdict.BRAKE),
    ],
)
def test_who_is_late_is_waited_for_and_who_is_gone_is_not(
    healthy: CycleState,
    limits: SafetyLimits,
    change: dict[str, object],
    check: Check,
    verdict: Verdict,
) -> None:
    result = judge(dataclasses.replace(healthy, **change), limits, at(healthy.measured))
    assert result.verdict is verdict
    assert result.check is check


def test_an_armed_arm_may_wait_for_its_first_action(
    healthy: CycleState, limits: SafetyLimits
) -> None:
    waiting = dataclasses.replace(healthy, command_age_s=None, commander_alive=False)
    assert judge(waiting, limits, at(healthy.measured)).verdict is Verdict.PASS


def test_tracking_error_and_contact_stop_only_when_they_last(
    healthy: CycleState, limits: SafetyLimits
) -> None:
    away = at(
        Pose(healthy.measured.position + np.array([0.11, 0, 0]), healthy.measured.quaternion)
    )
    touching = dataclasses.replace(healthy, wrench=np.array([0, 0, 50.0, 0, 0, 0]))
    for state, setpoint, patience, fault in (
        (healthy, away, limits.tracking_s, Fault.TRACKING_ERROR),
        (touching, at(healthy.measured), limits.contact_s, Fault.CONTACT_FORCE),
    ):
        memory = CycleMemory()
        for cycle in range(400):
            now_s = cycle * 0.008
            result = check_cycle(state, setpoint, memory, limits, now_s)
            memory = result.memory
            if result.verdict is Verdict.STOP:
                break
        assert result.fault is fault
        assert now_s == pytest.approx(patience, abs=0.02)


def test_a_touching_arm_may_go_back(healthy: CycleState, limits: SafetyLimits) -> None:
    back = dataclasses.replace(healthy, wrench=np.array([0, 0, 50.0, 0, 0, 0]), retreating=True)
    assert judge(back, limits, at(healthy.measured)).verdict is Verdict.PASS
    harder = dataclasses.replace(back, wrench=np.array([0, 0, 90.0, 0, 0, 0]))
    assert judge(harder, limits, at(healthy.measured)).fault is Fault.CONTACT_FORCE


def test_the_last_look_refuses_what_no_limit_allows(
    healthy: CycleState, limits: SafetyLimits
) -> None:
    assert judge(healthy, limits, at(healthy.measured, linear=1.2)).fault is Fault.JUMP
    nan = at(Pose(healthy.measured.position * np.nan, healthy.measured.quaternion))
    assert judge(healthy, limits, nan).fault is Fault.MALFORMED_ACTION
    straight = dataclasses.replace(healthy, joints=np.array([0.0, -1.2, 0.01, -1.2, -1.57, 0.0]))
    assert judge(straight, limits, at(healthy.measured, linear=0.9)).fault is Fault.JOINT_SPEED
