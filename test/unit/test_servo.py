# SPDX-License-Identifier: Apache-2.0
"""The servo lag: stable, bounded in speed, independent of the step it is computed with."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.sim.servo import MAX_JOINT_SPEED, ServoFilter

JOINTS = st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6).map(np.array)
LOOKAHEAD = st.floats(0.03, 0.2)
STEP = st.sampled_from([0.002, 0.008, 0.02])


@given(q=JOINTS, target=JOINTS, lookahead=LOOKAHEAD, dt=STEP)
def test_step_is_bounded_and_never_passes_the_target(q, target, lookahead, dt):
    moved = ServoFilter(lookahead).advance(q, target, dt)
    assert np.all(np.abs(moved - q) <= MAX_JOINT_SPEED * dt + 1e-12)
    assert np.all(np.abs(target - moved) <= np.abs(target - q) + 1e-12)
    assert np.all((target - q) * (moved - q) >= 0.0)


@given(lookahead=LOOKAHEAD, dt=STEP)
def test_two_half_steps_equal_one_step(lookahead, dt):
    servo = ServoFilter(lookahead)
    start, target = np.zeros(6), np.full(6, 0.01)
    halves = servo.advance(servo.advance(start, target, dt / 2), target, dt / 2)
    np.testing.assert_allclose(halves, servo.advance(start, target, dt), atol=1e-12)


def test_a_longer_lookahead_is_softer():
    step = np.full(6, 0.01)
    hard = ServoFilter(0.03).advance(np.zeros(6), step, 0.008)
    soft = ServoFilter(0.2).advance(np.zeros(6), step, 0.008)
    assert np.all(soft < hard)
