# SPDX-License-Identifier: Apache-2.0
"""Jerk, reversals and gripper events of known movements."""

from __future__ import annotations

import numpy as np
import pytest
from sqil_training.motion import grip_lag, motion_of

PERIOD = 0.2
OPEN = np.ones(10)


def line(steps):
    """(T + 1, 3) positions of an arm that moves along x by the given steps."""
    x = np.concatenate([[0.0], np.cumsum(steps)])
    return np.stack([x, 0 * x, 0 * x], axis=1)


def test_steady_and_accelerated_motion_have_no_jerk():
    assert motion_of(line(np.full(10, 0.01)), OPEN, PERIOD).jerk == pytest.approx(0.0, abs=1e-9)
    steps = 0.001 * np.arange(10)
    assert motion_of(line(steps), OPEN, PERIOD).jerk == pytest.approx(0.0, abs=1e-9)


def test_jerk_of_a_cubic_is_its_third_derivative():
    t = PERIOD * np.arange(11)
    path = np.stack([2.0 * t**3, 0 * t, 0 * t], axis=1)
    assert motion_of(path, OPEN, PERIOD).jerk == pytest.approx(12.0)


def test_reversals_are_counted_per_second_and_need_a_real_movement():
    to_and_fro = 0.01 * np.array([1, -1, 1, -1, 1, 1, 1, 1, 1, 1])
    assert motion_of(line(to_and_fro), OPEN, PERIOD).reversals == pytest.approx(4 / 2.0)
    assert motion_of(line(0.05 * to_and_fro), OPEN, PERIOD).reversals == 0.0


def test_a_right_angle_is_no_reversal():
    path = np.array([[0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0], [0.1, 0.1, 0.1]])
    assert motion_of(path, OPEN[:3], PERIOD).reversals == 0.0


def test_grips_are_the_actions_that_changed_the_gripper():
    openings = np.array([1.0, 0.9, 0.1, 0.0, 0.0, 1.0])
    assert motion_of(line(np.zeros(6)), openings, PERIOD).grips == (2, 5)
    assert motion_of(line(np.zeros(2)), np.zeros(2), PERIOD).grips == (0,)


def test_grip_lag_is_of_the_first_closing():
    assert grip_lag((12, 30), (10, 20), PERIOD) == pytest.approx(0.4)
    assert grip_lag((), (10,), PERIOD) is None


def test_a_very_short_episode_is_judged_too():
    assert motion_of(line(np.array([0.01])), OPEN[:1], PERIOD).jerk == 0.0
