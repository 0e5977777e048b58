# SPDX-License-Identifier: Apache-2.0
"""The action filter: what passes, what is shortened, what is dropped, what stops the arm."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqil_ros.contract import Contract
from sqil_ros.geometry import (
    apply_delta,
    base_link_from_base,
    pose_delta,
    quat_from_rotvec,
    quat_multiply,
    rotation_angle,
)
from sqil_ros.kinematics import UR5E, forward
from sqil_ros.safety import (
    Box,
    Check,
    Fault,
    FilterMemory,
    FilterResult,
    SafetyContext,
    SafetyLimits,
    Verdict,
    filter_action,
)
from sqil_ros.types import Action, Array, Pose

CONTRACT = Contract.load()
HOME = np.array(CONTRACT.home)
START = base_link_from_base(forward(UR5E, HOME, CONTRACT.tcp))
LIMITS = SafetyLimits.for_contract(CONTRACT, workspace=Box((0.2, -0.45, -0.05), (0.75, 0.45, 0.6)))
WARM = dataclasses.replace(FilterMemory.fresh(1.0), first_s=0.0)


def context(now_s: float = 10.0, target: Pose = START, **facts: object) -> SafetyContext:
    return SafetyContext(now_s=now_s, target=target, measured=target, joints=HOME, **facts)


def act(
    delta: Array | list[float],
    gripper: float = 1.0,
    memory: FilterMemory = WARM,
    limits: SafetyLimits = LIMITS,
    **facts: object,
) -> FilterResult:
    return filter_action(
        Action(np.array(delta, dtype=float), gripper), context(**facts), memory, limits
    )


def stepped(length: float) -> list[float]:
    return [0.0, 0.0, -length, 0.0, 0.0, 0.0]


small = st.floats(-0.008, 0.008)
turns = st.floats(-0.03, 0.03)


@settings(deadline=None)
@given(st.lists(small, min_size=3, max_size=3), st.lists(turns, min_size=3, max_size=3))
def test_a_legal_action_passes_bit_for_bit(move: list[float], turn: list[float]) -> None:
    delta = np.array(move + turn)
    result = act(delta)
    expected = apply_delta(START, delta)
    assert result.verdict is Verdict.PASS, result.message
    assert result.target.position.tobytes() == expected.position.tobytes()
    assert result.target.quaternion.tobytes() == expected.quaternion.tobytes()
    assert result.flags == () and sum(result.memory.counts) == 0


anything = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None)
@given(st.lists(anything, min_size=6, max_size=6), anything)
def test_whatever_comes_in_the_target_is_finite_and_near(
    numbers: list[float], gripper: float
) -> None:
    result = act(numbers, gripper)
    assert np.all(np.isfinite(result.target.position))
    assert abs(float(np.linalg.norm(result.target.quaternion)) - 1.0) < 1e-9
    assert result.gripper in (0.0, 1.0)
    if not np.all(np.isfinite(numbers)) or not math.isfinite(gripper):
        assert result.verdict is Verdict.DROP and result.flags == (Check.MALFORMED,)
        assert result.target is START


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(-0.14, 0.14), min_size=3, max_size=3),
            st.lists(st.floats(-0.6, 0.6), min_size=3, max_size=3),
        ),
        min_size=1,
        max_size=25,
    )
)
def test_a_wild_walk_stays_inside_every_limit(walk: list[tuple[list[float], list[float]]]) -> None:
    keep_out = Box((0.3, -0.1, -0.05), (0.6, 0.1, 0.02))
    limits = dataclasses.replace(LIMITS, keep_out=(keep_out,), table_z=-0.01)
    target, memory = START, WARM
    for tick, (move, turn) in enumerate(walk):
        result = filter_action(
            Action(np.array(move + turn), 1.0),
            context(now_s=10.0 + 0.2 * tick, target=target),
            dataclasses.replace(memory, drops=0),
            limits,
        )
        if result.verdict is Verdict.STOP:
            assert result.target is target
            return
        step = pose_delta(target, result.target)
        assert float(np.linalg.norm(step[:3])) <= 0.05 + 1e-9
        assert float(np.linalg.norm(step[3:])) <= 0.15 + 1e-9
        assert np.all(result.target.position >= np.array([0.22, -0.43, -0.03]) - 1e-9)
        assert np.all(result.target.position <= np.array([0.73, 0.43, 0.58]) + 1e-9)
        assert keep_out.inflated(0.02).depth(result.target.position[None]) <= 1e-6
        assert float(np.linalg.norm(result.target.position - [0, 0, UR5E.d[0]])) <= 0.80 + 1e-6
        axis_z = quat_multiply(
            quat_multiply(result.target.quaternion, np.array([0.0, 0.0, 1.0, 0.0])),
            result.target.quaternion * np.array([-1.0, -1.0, -1.0, 1.0]),
        )[2]
        assert math.acos(np.clip(-axis_z, -1, 1)) <= math.radians(45.0) + 1e-6
        target, memory = result.target, result.memory


@pytest.mark.parametrize(
    ('facts', 'check', 'fault'),
    [
        ({'command_age_s': 0.31}, Check.COMMAND_AGE, Fault.STALE_COMMAND),
        ({'command_age_s': -0.5}, Check.COMMAND_AGE, Fault.STALE_COMMAND),
        ({'command_age_s': math.nan}, Check.COMMAND_AGE, Fault.STALE_COMMAND),
        ({'observation_age_s': 0.51}, Check.OBSERVATION_AGE, Fault.STALE_OBSERVATION),
        ({'joint_state_age_s': 0.11}, Check.OBSERVATION_AGE, Fault.STALE_OBSERVATION),
        ({'frame': 'base'}, Check.SEQUENCE, Fault.OUT_OF_SEQUENCE),
        ({'episode': 'a', 'expected_episode': 'b'}, Check.SEQUENCE, Fault.OUT_OF_SEQUENCE),
        ({'commanders': 2}, Check.COMMANDER, Fault.SECOND_COMMANDER),
    ],
)
def test_what_is_not_fresh_or_not_ours_is_dropped_and_three_in_a_row_latch(
    facts: dict[str, object], check: Check, fault: Fault
) -> None:
    memory = WARM
    for expected in (Verdict.DROP, Verdict.DROP, Verdict.STOP):
        result = act(stepped(0.01), memory=memory, **facts)
        assert result.verdict is expected
        assert result.flags == (check,)
        assert result.target is START
        memory = result.memory
    assert result.fault is fault
    assert memory.counts[check] == 3


def test_a_good_action_between_bad_ones_prevents_the_latch() -> None:
    memory = WARM
    for delta in (stepped(math.nan), stepped(math.nan), stepped(0.01), stepped(math.nan)):
        result = act(delta, memory=memory)
        memory = result.memory
    assert result.verdict is Verdict.DROP
    assert memory.drops == 1


def test_wrong_length_is_malformed() -> None:
    assert act([0.0] * 5).flags == (Check.MALFORMED,)


def test_sequence_must_grow() -> None:
    first = act(stepped(0.0), sequence=7)
    assert first.accepted
    assert act(stepped(0.0), sequence=7, memory=first.memory).flags == (Check.SEQUENCE,)
    assert act(stepped(0.0), sequence=8, memory=first.memory).accepted


def test_a_long_step_is_shortened_and_a_jump_is_dropped() -> None:
    shortened = act(stepped(0.06), limits=dataclasses.replace(LIMITS, joint_speed=3.0))
    assert shortened.verdict is Verdict.CLAMP and Check.STEP in shortened.flags
    jump = act(stepped(0.16))
    assert jump.verdict is Verdict.DROP and jump.flags == (Check.STEP,)


def test_turning_is_kept_to_the_angular_speed() -> None:
    result = act([0, 0, 0, 0, 0, 0.24], limits=dataclasses.replace(LIMITS, joint_speed=3.0))
    assert result.flags == (Check.TCP_SPEED,)
    assert rotation_angle(START.quaternion, result.target.quaternion) == pytest.approx(0.15)


def test_the_first_actions_ramp_in() -> None:
    memory = FilterMemory.fresh(1.0)
    lengths = []
    for tick in range(7):
        result = act(stepped(0.035), memory=memory, now_s=0.2 * tick)
        lengths.append(float(np.linalg.norm(result.target.position - START.position)))
        memory = dataclasses.replace(result.memory, joint_step=np.full(6, 0.2))
    assert lengths[0] == pytest.approx(0.02)
    assert lengths == sorted(lengths)
    assert lengths[-1] == pytest.approx(0.035)


def test_outside_the_box_only_inward_motion_is_allowed() -> None:
    start = Pose(START.position + np.array([0.0, 0.0, 0.0]), START.quaternion)
    limits = dataclasses.replace(
        LIMITS, workspace=Box((0.2, -0.45, start.position[2] + 0.02), (0.75, 0.45, 0.8))
    )
    down = filter_action(Action(np.array(stepped(0.01)), 1.0), context(target=start), WARM, limits)
    assert down.flags == (Check.WORKSPACE,)
    assert down.target.position[2] == pytest.approx(start.position[2])
    up = filter_action(Action(np.array(stepped(-0.01)), 1.0), context(target=start), WARM, limits)
    assert up.target.position[2] == pytest.approx(start.position[2] + 0.01)


def walk_until_it_ends(delta: list[float], limits: SafetyLimits) -> FilterResult:
    target, memory, joints = START, WARM, HOME
    for tick in range(200):
        result = filter_action(
            Action(np.array(delta), 1.0),
            SafetyContext(10.0 + 0.2 * tick, target, target, joints),
            memory,
            limits,
        )
        if result.verdict is Verdict.STOP:
            return result
        target, memory = result.target, result.memory
    raise AssertionError('the walk never ended')


def test_walking_out_of_reach_ends_as_unreachable_before_the_arm_is_straight() -> None:
    limits = dataclasses.replace(
        LIMITS,
        workspace=Box((-2.0, -2.0, -2.0), (2.0, 2.0, 2.0)),
        reach_max_m=1.1,
        condition_slow=200.0,
        condition_stop=400.0,
        bend_min_rad=0.0,
    )
    result = walk_until_it_ends([0.04, 0.0, 0.0, 0.0, 0.0, 0.0], limits)
    assert result.fault is Fault.UNREACHABLE_POSE
    assert 'reach' in result.message


def test_walking_into_the_straight_elbow_ends_as_singularity() -> None:
    limits = dataclasses.replace(
        LIMITS, workspace=Box((-2.0, -2.0, -2.0), (2.0, 2.0, 2.0)), reach_max_m=1.1
    )
    result = walk_until_it_ends([0.009, 0.0, 0.006, 0.0, 0.0, 0.0], limits)
    assert result.fault is Fault.SINGULARITY


def test_joint_speed_shortens_the_whole_step() -> None:
    limits = dataclasses.replace(LIMITS, joint_speed=0.2)
    delta = np.array([0.02, 0.01, 0.0, 0.0, 0.0, 0.1])
    result = act(delta, limits=limits)
    assert result.flags == (Check.JOINT_SPEED,)
    step = pose_delta(START, result.target)
    assert np.allclose(step / np.linalg.norm(step), delta / np.linalg.norm(delta), atol=1e-6)
    assert result.memory.joints is not None
    assert np.max(np.abs(result.memory.joints - HOME)) == pytest.approx(0.04, rel=0.05)


def test_gripper_has_hysteresis_dwell_and_a_toggle_rate() -> None:
    memory, openings = WARM, []
    for tick, wanted in enumerate([0.5, 0.3, 0.5, 0.9, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1]):
        result = act(stepped(0.0), gripper=wanted, memory=memory, now_s=10.0 + 0.2 * tick)
        memory = result.memory
        openings.append(result.gripper)
    assert openings[:4] == [1.0, 0.0, 0.0, 1.0]
    # The third change within a second waits until the second is over.
    assert openings[4] == 1.0
    assert openings[-1] == 0.0
    toggles = sum(a != b for a, b in pairwise(openings))
    assert toggles == 3
    assert memory.counts[Check.GRIPPER] >= 1


def test_asking_for_motion_in_vain_is_stuck() -> None:
    memory = WARM
    for tick in range(80):
        delta = stepped(0.002 if tick % 4 < 2 else -0.002)
        result = act(delta, memory=memory, now_s=10.0 + 0.2 * tick)
        memory = result.memory
        if result.verdict is Verdict.STOP:
            break
    assert result.fault is Fault.STUCK
    assert 0.2 * tick == pytest.approx(10.2, abs=0.3)


def test_waiting_is_not_stuck() -> None:
    memory = WARM
    for tick in range(100):
        result = act(stepped(0.0), memory=memory, now_s=10.0 + 0.2 * tick)
        memory = result.memory
        assert result.verdict is Verdict.PASS


def test_an_episode_ends_after_its_steps() -> None:
    limits = dataclasses.replace(LIMITS, episode_steps=3)
    memory = WARM
    for tick in range(4):
        result = act(stepped(0.0), memory=memory, limits=limits, episode='e', now_s=0.2 * tick)
        memory = result.memory
    assert result.fault is Fault.EPISODE_LIMIT
    assert act(stepped(0.0), memory=memory, limits=limits, episode='f', now_s=1.0).accepted


@settings(max_examples=30, deadline=None)
@given(st.floats(-math.pi, math.pi), st.floats(0.0, 0.15))
def test_the_cone_holds_whatever_the_turn_direction(direction: float, angle: float) -> None:
    edge = quat_from_rotvec(np.array([math.radians(44.0), 0.0, 0.0]))
    start = Pose(START.position, quat_multiply(edge, START.quaternion))
    turn = angle * np.array([math.cos(direction), math.sin(direction), 0.0])
    wide = dataclasses.replace(LIMITS, condition_slow=150.0, condition_stop=300.0)
    result = filter_action(
        Action(np.concatenate([np.zeros(3), turn]), 1.0), context(target=start), WARM, wide
    )
    tilted = rotation_angle(START.quaternion, result.target.quaternion)
    assert tilted <= math.radians(45.0) + 1e-6
