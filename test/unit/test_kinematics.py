# SPDX-License-Identifier: Apache-2.0
"""UR kinematics against a plain Denavit-Hartenberg product and finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqil_ros.geometry import apply_delta, matrix_from_quat, pose_delta
from sqil_ros.kinematics import (
    ARMS,
    FLANGE,
    UR5E,
    condition_number,
    forward,
    inverse_near,
    jacobian,
)
from sqil_ros.types import Pose

_ALPHA = (np.pi / 2, 0.0, 0.0, np.pi / 2, -np.pi / 2, 0.0)
_joints = st.lists(st.floats(-3.1, 3.1), min_size=6, max_size=6).map(np.array)
_TCP = Pose(np.array([0.01, -0.02, 0.156]), np.array([0.0, 0.0, 0.0, 1.0]))
HOME = np.array([-0.3, -1.75, 1.85, -1.67, -1.5708, -0.3])


def _plain_product(arm, q):
    frame = np.eye(4)
    for i in range(6):
        c, s, ca, sa = np.cos(q[i]), np.sin(q[i]), np.cos(_ALPHA[i]), np.sin(_ALPHA[i])
        frame = frame @ np.array(
            [
                [c, -s * ca, s * sa, arm.a[i] * c],
                [s, c * ca, -c * sa, arm.a[i] * s],
                [0, sa, ca, arm.d[i]],
                [0, 0, 0, 1],
            ]
        )
    return frame


@pytest.mark.parametrize('arm', ARMS.values(), ids=ARMS.keys())
@given(q=_joints)
def test_forward_is_the_denavit_hartenberg_product(arm, q):
    expected = _plain_product(arm, q)
    pose = forward(arm, q, FLANGE)
    np.testing.assert_allclose(pose.position, expected[:3, 3], atol=1e-12)
    np.testing.assert_allclose(matrix_from_quat(pose.quaternion), expected[:3, :3], atol=1e-9)


@given(q=_joints)
def test_the_jacobian_is_the_derivative(q):
    step = 1e-6
    numeric = np.column_stack(
        [
            pose_delta(forward(UR5E, q - step * e, _TCP), forward(UR5E, q + step * e, _TCP))
            / (2 * step)
            for e in np.eye(6)
        ]
    )
    np.testing.assert_allclose(jacobian(UR5E, q, _TCP), numeric, atol=1e-6)


@settings(max_examples=60)
@given(
    start=st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6).map(lambda d: HOME + d),
    delta=st.lists(st.floats(-0.03, 0.03), min_size=6, max_size=6).map(np.array),
)
def test_inverse_reaches_what_it_was_asked_for_on_the_same_branch(start, delta):
    wanted = apply_delta(forward(UR5E, start, _TCP), delta)
    q = inverse_near(UR5E, wanted, start, _TCP)
    assert q is not None
    assert np.abs(pose_delta(forward(UR5E, q, _TCP), wanted)).max() < 1e-6
    assert np.abs(q - start).max() < 0.8


def test_inverse_says_so_when_a_pose_is_out_of_reach():
    pose = forward(UR5E, HOME, _TCP)
    assert inverse_near(UR5E, Pose(pose.position * 4.0, pose.quaternion), HOME, _TCP) is None
    nowhere = Pose(np.array([np.nan, 0.0, 0.0]), pose.quaternion)
    assert inverse_near(UR5E, nowhere, HOME, _TCP) is None


def test_condition_grows_towards_the_wrist_singularity():
    numbers = [condition_number(UR5E, np.array([*HOME[:4], w, 0.0])) for w in (-1.57, -0.3, -0.05)]
    assert numbers == sorted(numbers)
