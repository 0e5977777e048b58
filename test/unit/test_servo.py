# SPDX-License-Identifier: Apache-2.0
"""The servo lag: stable, bounded in speed, independent of the step it is computed with."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.sim.servo import MAX_JOINT_SPEED, ServoFilter, servo_step

JOINTS = st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6).map(np.array)
LOOKAHEAD = st.floats(0.03, 0.2)
STEP = st.sampled_from([0.002, 0.008, 0.02])


@given(q=JOINTS, target=JOINTS, lookahead=LOOKAHEAD, dt=STEP)
def test_step_is_bounded_and_never_passes_the_target(q, target, lookahead, dt):
    moved = servo_step(q, target, lookahead, dt)
    assert np.all(np.abs(moved - q) <= MAX_JOINT_SPEED * dt + 1e-12)
    assert np.all(np.abs(target - moved) <= np.abs(target - q) + 1e-12)


@given(lookahead=LOOKAHEAD, dt=STEP)
def test_two_half_steps_equal_one_step(lookahead, dt):
    start, target = np.zeros(6), np.full(6, 0.01)
    half = servo_step(start, target, lookahead, dt / 2)
    np.testing.assert_allclose(
        servo_step(half, target, lookahead, dt / 2),
        servo_step(start, target, lookahead, dt),
        atol=1e-12,
    )


def test_the_filter_arrives_and_a_longer_lookahead_is_softer():
    target = np.full(6, 0.01)
    hard, soft = ServoFilter(np.zeros(6), 0.03), ServoFilter(np.zeros(6), 0.2)
    assert np.all(soft.step(target, 0.008) < hard.step(target, 0.008))
    for _ in range(200):
        soft.step(target, 0.008)
    np.testing.assert_allclose(soft.q, target, atol=1e-8)
