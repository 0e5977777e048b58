# SPDX-License-Identifier: Apache-2.0
"""Whatever targets come in, the setpoint stays within its limits and arrives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqil_ros.geometry import apply_delta, rotation_angle
from sqil_ros.trajectory import MotionLimits, Trajectory, Waypoint
from sqil_ros.types import Pose

START = Pose(np.array([0.4, 0.0, 0.3]), np.array([0.7071067811865476, -0.7071067811865476, 0, 0]))
LIMITS = MotionLimits()
PERIOD = 0.2
_steps = st.lists(
    st.tuples(
        st.lists(st.floats(-0.08, 0.08), min_size=6, max_size=6).map(np.array),
        st.floats(0.0, 0.03),
    ),
    min_size=1,
    max_size=12,
)


def _drive(steps, dt):
    """Setpoints while ``steps`` (delta, jitter) arrive at 5 Hz, and one second after."""
    trajectory = Trajectory(START, 1.0, PERIOD, dt)
    per_step = round(PERIOD / dt)
    setpoints = []
    for i in range(per_step * (len(steps) + 8)):
        if i % per_step == 0 and i // per_step < len(steps):
            delta, jitter = steps[i // per_step]
            target = apply_delta(trajectory.newest.pose, delta)
            trajectory.push(Waypoint(i * dt + 0.15 + jitter, target, 0.0))
        setpoints.append(trajectory.step(i * dt))
    return trajectory, setpoints


@settings(max_examples=25, deadline=None)
@given(_steps, st.sampled_from([0.02, 0.008]))
def test_speed_acceleration_and_jerk_stay_within_limits(steps, dt):
    _, setpoints = _drive(steps, dt)
    linear = np.array([s.linear_velocity for s in setpoints])
    angular = np.array([s.angular_velocity for s in setpoints])
    for velocity, speed, acceleration, jerk in (
        (linear, LIMITS.linear_speed, LIMITS.linear_acceleration, LIMITS.linear_jerk),
        (angular, LIMITS.angular_speed, LIMITS.angular_acceleration, LIMITS.angular_jerk),
    ):
        rates = np.diff(velocity, axis=0) / dt
        assert np.linalg.norm(velocity, axis=1).max() <= speed * 1.001
        assert np.linalg.norm(rates, axis=1).max() <= acceleration * 1.02
        assert np.linalg.norm(np.diff(rates, axis=0) / dt, axis=1).max() <= jerk * 1.05


@settings(max_examples=25, deadline=None)
@given(_steps)
def test_reachable_targets_are_reached_and_never_passed(steps):
    steps = [(delta * 0.2, jitter) for delta, jitter in steps]
    trajectory, setpoints = _drive(steps, 0.02)
    final, target = setpoints[-1].pose, trajectory.newest.pose
    assert np.linalg.norm(final.position - target.position) < 1e-6
    assert rotation_angle(final.quaternion, target.quaternion) < 1e-6
    path = np.array([s.pose.position for s in setpoints])
    corners = START.position + np.cumsum([[0, 0, 0]] + [d[:3] for d, _ in steps], axis=0)
    assert np.all(path >= corners.min(axis=0) - 1e-9)
    assert np.all(path <= corners.max(axis=0) + 1e-9)


def test_a_target_waits_for_its_time():
    trajectory = Trajectory(START, 1.0, PERIOD, 0.02)
    trajectory.push(Waypoint(0.5, apply_delta(START, np.array([0.04, 0, 0, 0, 0, 0])), 0.0))
    before = [trajectory.step(0.02 * i) for i in range(25)]
    np.testing.assert_allclose(
        [s.pose.position for s in before], [START.position] * 25, atol=1e-12
    )
    assert all(s.gripper == 1.0 for s in before)
    assert trajectory.step(0.5).gripper == 0.0


def test_a_later_plan_replaces_the_queued_future():
    trajectory = Trajectory(START, 1.0, PERIOD, 0.02)
    far = apply_delta(START, np.array([0.04, 0, 0, 0, 0, 0]))
    near = apply_delta(START, np.array([0.0, 0.02, 0, 0, 0, 0]))
    trajectory.push(Waypoint(0.3, far, 1.0))
    trajectory.push(Waypoint(0.2, near, 1.0))
    setpoints = [trajectory.step(0.02 * i) for i in range(80)]
    np.testing.assert_allclose(setpoints[-1].pose.position, near.position, atol=1e-9)


@pytest.mark.parametrize('dt', [0.02, 0.008, 0.002])
def test_holding_brings_the_arm_to_rest_within_two_windows(dt):
    trajectory = Trajectory(START, 1.0, PERIOD, dt)
    for k in range(5):
        target = apply_delta(trajectory.newest.pose, np.array([0.04, 0, 0, 0, 0, 0]))
        trajectory.push(Waypoint(PERIOD * k, target, 1.0))
    now = 0.0
    while now < 0.6:
        trajectory.step(now)
        now += dt
    trajectory.hold()
    stop = now + 2 * LIMITS.window_s + 2 * dt
    while now < stop:
        setpoint = trajectory.step(now)
        now += dt
    assert np.linalg.norm(setpoint.linear_velocity) < 1e-9
