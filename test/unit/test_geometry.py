# SPDX-License-Identifier: Apache-2.0
"""Rotations and poses: round trips, group laws, and the frame change that must not mirror."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros import geometry as g
from sqil_ros.types import Pose

_unit = st.floats(-1.0, 1.0)
_vectors = st.tuples(_unit, _unit, _unit).map(np.array)
_rotvecs = st.tuples(_vectors, st.floats(0.0, np.pi - 1e-3)).map(
    lambda pair: pair[0] / max(np.linalg.norm(pair[0]), 1e-9) * pair[1]
)
_poses = st.tuples(_vectors, _rotvecs).map(lambda p: Pose(p[0], g.quat_from_rotvec(p[1])))


def _same_rotation(a, b, tolerance=1e-7):
    return min(np.abs(a - b).max(), np.abs(a + b).max()) < tolerance


@given(_rotvecs)
def test_rotation_vectors_survive_the_quaternion(r):
    np.testing.assert_allclose(g.rotvec_from_quat(g.quat_from_rotvec(r)), r, atol=1e-7)


@given(_rotvecs)
def test_matrices_survive_the_quaternion(r):
    q = g.quat_from_rotvec(r)
    assert _same_rotation(g.quat_from_matrix(g.matrix_from_quat(q)), q)


@given(_rotvecs, _vectors)
def test_quaternion_and_matrix_turn_alike(r, v):
    q = g.quat_from_rotvec(r)
    np.testing.assert_allclose(g.quat_rotate(q, v), g.matrix_from_quat(q) @ v, atol=1e-9)


@given(_poses, _poses)
def test_a_delta_leads_from_start_to_end(start, end):
    reached = g.apply_delta(start, g.pose_delta(start, end))
    np.testing.assert_allclose(reached.position, end.position, atol=1e-12)
    assert _same_rotation(reached.quaternion, end.quaternion)


def test_a_delta_near_the_tool_down_orientation_is_small():
    """A tool that points down sits where rotation vectors change sign."""
    a = g.pose_from_vector(np.array([0.4, 0.0, 0.2, 2.2214, -2.2214, 0.001]))
    b = g.pose_from_vector(np.array([0.4, 0.0, 0.2, -2.2214, 2.2214, 0.001]))
    assert np.linalg.norm(g.pose_delta(a, b)) < 0.01


@given(_poses)
def test_a_pose_and_its_inverse_cancel(pose):
    identity = g.compose(pose, g.inverse(pose))
    np.testing.assert_allclose(identity.position, 0.0, atol=1e-9)
    assert g.rotation_angle(identity.quaternion, np.array([0.0, 0.0, 0.0, 1.0])) < 1e-6


@given(_poses, st.floats(0.0, 1.0))
def test_interpolation_keeps_to_the_great_arc(pose, fraction):
    start = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
    middle = g.interpolate(start, pose, fraction)
    whole = g.rotation_angle(start.quaternion, pose.quaternion)
    part = g.rotation_angle(start.quaternion, middle.quaternion)
    assert abs(part - fraction * whole) < 1e-6


@given(_poses)
def test_base_and_base_link_are_inverse_of_each_other(pose):
    back = g.base_link_from_base(g.base_from_base_link(pose))
    np.testing.assert_allclose(back.position, pose.position, atol=1e-12)
    assert _same_rotation(back.quaternion, pose.quaternion)


def test_the_frame_change_is_a_rotation_and_not_a_mirror():
    axes = np.column_stack(
        [
            g.base_from_base_link(Pose(axis, np.array([0.0, 0.0, 0.0, 1.0]))).position
            for axis in np.eye(3)
        ]
    )
    assert np.linalg.det(axes) == 1.0
