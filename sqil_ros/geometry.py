# SPDX-License-Identifier: Apache-2.0
"""Rigid-body arithmetic on unit quaternions (x, y, z, w) and rotation vectors.

A tool that points down sits where rotation vectors and Euler angles jump (norm near pi), so
rotations are composed and inverted here, never subtracted component by component.
"""

from __future__ import annotations

import math

import numpy as np

from sqil_ros.types import Array, Pose

_HALF_TURN_ABOUT_Z = np.array([0.0, 0.0, 1.0, 0.0])


def quat_multiply(a: Array, b: Array) -> Array:
    """Hamilton product of two (4,) quaternions: the rotation ``b`` followed by ``a``."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return np.array(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ]
    )


def quat_conjugate(q: Array) -> Array:
    """Inverse of a (4,) unit quaternion."""
    return np.array([-q[0], -q[1], -q[2], q[3]])


def quat_normalize(q: Array) -> Array:
    """(4,) quaternion scaled to unit norm."""
    return q / math.sqrt(float(q @ q))


def quat_rotate(q: Array, v: Array) -> Array:
    """Rotate the (3,) vector ``v`` by the (4,) unit quaternion ``q``."""
    x, y, z, w = q
    vx, vy, vz = v
    tx = 2.0 * (y * vz - z * vy)
    ty = 2.0 * (z * vx - x * vz)
    tz = 2.0 * (x * vy - y * vx)
    return np.array(
        [
            vx + w * tx + y * tz - z * ty,
            vy + w * ty + z * tx - x * tz,
            vz + w * tz + x * ty - y * tx,
        ]
    )


def quat_from_rotvec(r: Array) -> Array:
    """(3,) rotation vector [rad] to a (4,) unit quaternion."""
    angle = math.sqrt(float(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]))
    scale = 0.5 - angle * angle / 48.0 if angle < 1e-6 else math.sin(0.5 * angle) / angle
    return np.array([r[0] * scale, r[1] * scale, r[2] * scale, math.cos(0.5 * angle)])


def rotvec_from_quat(q: Array) -> Array:
    """(4,) unit quaternion to the (3,) rotation vector [rad] of norm at most pi."""
    x, y, z, w = q if q[3] >= 0.0 else -q
    sine = math.sqrt(x * x + y * y + z * z)
    scale = 2.0 / max(w, 1e-12) if sine < 1e-9 else 2.0 * math.atan2(sine, w) / sine
    return np.array([x * scale, y * scale, z * scale])


def matrix_from_quat(q: Array) -> Array:
    """(4,) unit quaternion to its (3, 3) rotation matrix."""
    x, y, z, w = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quat_from_matrix(m: Array) -> Array:
    """(3, 3) rotation matrix to a (4,) unit quaternion, from its largest component (stable)."""
    trace = float(m[0, 0] + m[1, 1] + m[2, 2])
    squares = np.array([m[0, 0], m[1, 1], m[2, 2], trace]) * 2.0 - trace + 1.0
    k = int(np.argmax(squares))
    if k == 3:
        q = np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], trace + 1.0])
    else:
        i, j, n = k, (k + 1) % 3, (k + 2) % 3
        q = np.empty(4)
        q[i] = 1.0 + m[i, i] - m[j, j] - m[n, n]
        q[j] = m[j, i] + m[i, j]
        q[n] = m[n, i] + m[i, n]
        q[3] = m[n, j] - m[j, n]
    return quat_normalize(q)


def rotation_angle(a: Array, b: Array) -> float:
    """Angle [rad], 0..pi, of the rotation between two (4,) unit quaternions."""
    relative = quat_multiply(quat_conjugate(a), b)
    return 2.0 * math.atan2(float(np.linalg.norm(relative[:3])), abs(float(relative[3])))


def slerp(a: Array, b: Array, fraction: float) -> Array:
    """Point at ``fraction`` (0..1) on the shorter great arc from quaternion ``a`` to ``b``."""
    step = rotvec_from_quat(quat_multiply(quat_conjugate(a), b))
    return quat_multiply(a, quat_from_rotvec(step * fraction))


def compose(a: Pose, b: Pose) -> Pose:
    """Placement ``b`` expressed in ``a``'s frame, seen from ``a``'s parent."""
    return Pose(
        a.position + quat_rotate(a.quaternion, b.position),
        quat_multiply(a.quaternion, b.quaternion),
    )


def inverse(a: Pose) -> Pose:
    """The placement that undoes ``a``: ``compose(a, inverse(a))`` is the identity."""
    q = quat_conjugate(a.quaternion)
    return Pose(-quat_rotate(q, a.position), q)


def interpolate(a: Pose, b: Pose, fraction: float) -> Pose:
    """Straight line in position and great arc in rotation from ``a`` (0) to ``b`` (1)."""
    return Pose(
        a.position + (b.position - a.position) * fraction,
        slerp(a.quaternion, b.quaternion, fraction),
    )


def apply_delta(pose: Pose, delta: Array) -> Pose:
    """Move ``pose`` by a (6,) action: translation and rotation vector in base axes.

    The rotation is composed on the left, ``R_new = R(delta) R`` (BridgeData V2 execution).
    """
    return Pose(
        pose.position + delta[:3],
        quat_normalize(quat_multiply(quat_from_rotvec(delta[3:6]), pose.quaternion)),
    )


def pose_delta(start: Pose, end: Pose) -> Array:
    """The (6,) action that takes ``start`` to ``end``; inverse of :func:`apply_delta`."""
    rotation = quat_multiply(end.quaternion, quat_conjugate(start.quaternion))
    return np.concatenate([end.position - start.position, rotvec_from_quat(rotation)])


def pose_from_vector(vector: Array) -> Pose:
    """(6,) ``x y z rx ry rz`` as the UR controller writes poses, to a :class:`Pose`."""
    return Pose(np.asarray(vector[:3], float).copy(), quat_from_rotvec(vector[3:6]))


def vector_from_pose(pose: Pose) -> Array:
    """:class:`Pose` to the (6,) ``x y z rx ry rz``; inverse of :func:`pose_from_vector`."""
    return np.concatenate([pose.position, rotvec_from_quat(pose.quaternion)])


def base_from_base_link(pose: Pose) -> Pose:
    """A pose in REP-103 ``base_link`` seen from UR's ``base``: half a turn about z, det +1."""
    x, y, z = pose.position
    return Pose(np.array([-x, -y, z]), quat_multiply(_HALF_TURN_ABOUT_Z, pose.quaternion))


def base_link_from_base(pose: Pose) -> Pose:
    """Inverse of :func:`base_from_base_link` (up to the quaternion's sign)."""
    x, y, z = pose.position
    return Pose(
        np.array([-x, -y, z]),
        quat_multiply(quat_conjugate(_HALF_TURN_ABOUT_Z), pose.quaternion),
    )
