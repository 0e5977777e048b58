# SPDX-License-Identifier: Apache-2.0
"""The emulated arm's motions: they arrive, keep their limits, stop, and refuse the impossible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sqil_ros.contract import Contract
from sqil_ros.geometry import apply_delta, pose_delta
from sqil_ros.kinematics import UR5E
from sqil_ros.sim.servo import MAX_JOINT_SPEED
from sqil_ros.sim.ur_controller.arm import Arm
from sqil_ros.sim.ur_controller.motion import (
    JointSpeed,
    MotionError,
    SafetyViolation,
    Servo,
    Stop,
    ToolSpeed,
)
from sqil_ros.sim.ur_controller.moves import MoveJoints, MoveTool, Path
from sqil_ros.sim.ur_controller.profile import Trapezoid
from sqil_ros.types import Pose

DT = 0.008
HOME = np.array(Contract.load().home)
SMALL = st.lists(st.floats(-0.4, 0.4), min_size=6, max_size=6).map(np.array)
POSITIVE = st.floats(0.05, 3.0)


def run(arm, motion, limit=4000):
    """Step until the motion is done; the joint speeds met on the way."""
    arm.motion, speeds = motion, []
    while not motion.done:
        arm.step(DT)
        speeds.append(arm.qd)
        assert len(speeds) < limit, 'the motion does not end'
    return np.array(speeds)


@given(st.floats(0.0, 3.0), POSITIVE, POSITIVE)
def test_trapezoid_keeps_its_limits(length, speed, acceleration):
    profile = Trapezoid(length, speed, acceleration)
    times = np.linspace(0.0, profile.duration, 200)
    way = np.array([profile.at(t) for t in times])
    assert way[0] == pytest.approx(0.0, abs=1e-9)
    assert way[-1] == pytest.approx(length)
    assert np.all(np.diff(way) >= -1e-9)
    if length > 1e-3:
        step = times[1]
        rates = np.diff(way) / step
        assert rates.max() <= speed + 1e-6
        assert np.abs(np.diff(rates) / step).max() <= acceleration * (1.0 + 1e-6)
        assert profile.duration >= length / speed


@given(SMALL, POSITIVE, POSITIVE)
def test_joint_moves_arrive_at_the_leading_joints_speed(delta, speed, acceleration):
    assume(np.abs(delta).max() > 1e-3)
    arm = Arm(UR5E, HOME)
    speeds = run(arm, MoveJoints(HOME + delta, speed, acceleration))
    np.testing.assert_allclose(arm.q, HOME + delta, atol=1e-12)
    assert np.abs(speeds).max() <= speed + 1e-9


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-0.06, 0.06), min_size=6, max_size=6).map(np.array))
def test_tool_moves_stay_on_the_straight_line(delta):
    arm = Arm(UR5E, HOME)
    start = arm.pose()
    motion = MoveTool(apply_delta(start, delta), 0.25, 1.2)
    arm.motion = motion
    while not motion.done:
        arm.step(DT)
        way = pose_delta(start, arm.pose())
        share = float(way[:3] @ delta[:3]) / max(float(delta[:3] @ delta[:3]), 1e-12)
        if np.linalg.norm(delta[:3]) > 1e-3:
            np.testing.assert_allclose(way, share * delta, atol=2e-5)
    np.testing.assert_allclose(pose_delta(start, arm.pose()), delta, atol=1e-5)


@given(SMALL, POSITIVE)
def test_a_stop_brakes_in_time_and_keeps_the_direction(speed, rate):
    arm = Arm(UR5E, HOME)
    arm.qd = speed.copy()
    speeds = run(arm, Stop(joint_rate=rate))
    assert np.abs(arm.qd).max() < 1e-12 + rate * DT
    assert len(speeds) * DT <= np.abs(speed).max() / rate + 2 * DT
    for row in speeds:
        assert np.all(row * speed >= 0.0)
    arm.step(DT)
    assert arm.at_rest


def test_servo_arrives_and_its_speed_is_bounded():
    arm = Arm(UR5E, HOME)
    arm.motion = Servo(HOME + 1.0, 0.1)
    for _ in range(200):
        arm.step(DT)
        assert np.abs(arm.qd).max() <= MAX_JOINT_SPEED + 1e-9
    np.testing.assert_allclose(arm.q, HOME + 1.0, atol=1e-4)


def test_servo_jump_limit_is_a_safety_matter():
    arm = Arm(UR5E, HOME)
    arm.servo_jump_limit = 0.3
    arm.motion = Servo(HOME + 0.4, 0.1)
    with pytest.raises(SafetyViolation, match='interpolate'):
        arm.step(DT)


def test_tool_speed_reaches_its_twist_with_its_acceleration():
    arm = Arm(UR5E, HOME)
    arm.motion = ToolSpeed(np.array([0.0, 0.0, 0.1, 0.0, 0.0, 0.0]), 0.5)
    for i in range(1, 26):
        arm.step(DT)
        rise = (arm.jacobian() @ arm.qd)[2]
        assert rise == pytest.approx(min(0.1, 0.5 * DT * i), abs=2e-3)


def test_joint_speed_beyond_the_robots_is_a_safety_matter():
    arm = Arm(UR5E, HOME)
    arm.motion = JointSpeed(np.array([5.0, 0, 0, 0, 0, 0]), 40.0)
    with pytest.raises(SafetyViolation):
        for _ in range(100):
            arm.step(DT)


@pytest.mark.parametrize('value', [np.nan, np.inf, 10.0])
def test_impossible_joint_targets_are_refused(value):
    with pytest.raises(MotionError):
        MoveJoints(np.array([value, 0, 0, 0, 0, 0]), 1.0, 1.0)


def test_a_tool_move_out_of_reach_does_not_begin():
    arm = Arm(UR5E, HOME)
    here = arm.pose()
    arm.motion = MoveTool(Pose(here.position * 3.0, here.quaternion), 0.25, 1.2)
    with pytest.raises(MotionError, match='reach'):
        for _ in range(3):
            arm.step(DT)
    np.testing.assert_array_equal(arm.q, HOME)


def test_a_braked_move_goes_on_to_its_target():
    arm = Arm(UR5E, HOME)
    motion = MoveJoints(HOME + 0.5, 1.0, 2.0)
    arm.motion = motion
    for _ in range(40):
        arm.step(DT)
    arm.brake = Stop()
    for _ in range(100):
        arm.step(DT)
    assert arm.at_rest and not motion.done
    arm.brake = None
    motion.restart()
    run(arm, motion)
    np.testing.assert_allclose(arm.q, HOME + 0.5, atol=1e-12)


def test_a_path_tells_each_move_and_builds_it_when_it_begins():
    arm, told = Arm(UR5E, HOME), []
    goals = [HOME + 0.1, HOME - 0.1]
    seen = []

    def build(goal):
        seen.append(arm.q.copy())
        return MoveJoints(goal, 1.0, 2.0)

    run(arm, Path([lambda g=g: build(g) for g in goals], told.append))
    assert told == [0, 1]
    np.testing.assert_allclose(seen[1], goals[0], atol=1e-12)
    np.testing.assert_allclose(arm.q, goals[1], atol=1e-12)
