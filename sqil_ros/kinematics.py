# SPDX-License-Identifier: Apache-2.0
"""Nominal kinematics of the UR5 family in UR's ``base`` frame.

Every real arm carries factory calibration, so these values check and plan; the controller's own
TCP pose stays the truth. Denavit-Hartenberg figures: Universal Robots' published table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sqil_ros.geometry import (
    matrix_from_quat,
    quat_from_matrix,
    rotvec_from_quat,
)
from sqil_ros.types import Array, Pose


@dataclass(frozen=True)
class ArmModel:
    """Standard Denavit-Hartenberg lengths [m] of a six-joint UR arm."""

    name: str
    d: tuple[float, float, float, float, float, float]
    a: tuple[float, float, float, float, float, float]


UR5 = ArmModel(
    'ur5', (0.089159, 0.0, 0.0, 0.10915, 0.09465, 0.0823), (0.0, -0.425, -0.39225, 0.0, 0.0, 0.0)
)
UR5E = ArmModel(
    'ur5e', (0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996), (0.0, -0.425, -0.3922, 0.0, 0.0, 0.0)
)
ARMS = {arm.name: arm for arm in (UR5, UR5E)}
_UP = np.array([0.0, 0.0, 1.0])
_ORIGIN = np.zeros(3)
FLANGE = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))


def _tool_and_jacobian(arm: ArmModel, q: Array, tcp: Pose) -> tuple[Array, Array, Array]:
    """TCP position (3,), rotation (3, 3) and Jacobian (6, 6), multiplied out by hand.

    The shoulder, elbow and first wrist axes are parallel, so the Denavit-Hartenberg product
    collapses to sums of angles; that is ten times faster than six matrix products, and this runs
    in every control cycle.
    """
    s1, c1 = math.sin(q[0]), math.cos(q[0])
    q23 = q[1] + q[2]
    s234, c234 = math.sin(q23 + q[3]), math.cos(q23 + q[3])
    s5, c5, s6, c6 = math.sin(q[4]), math.cos(q[4]), math.sin(q[5]), math.cos(q[5])
    upper, fore = arm.a[1], arm.a[2]
    reach2, height2 = upper * math.cos(q[1]), arm.d[0] + upper * math.sin(q[1])
    reach3, height3 = reach2 + fore * math.cos(q23), height2 + fore * math.sin(q23)
    x4 = np.array([c1 * c234, s1 * c234, s234])
    y4 = np.array([s1, -c1, 0.0])
    z4 = np.array([c1 * s234, s1 * s234, -c234])
    x5 = c5 * x4 + s5 * y4
    z5 = c5 * y4 - s5 * x4
    rotation = np.empty((3, 3))
    rotation[:, 0] = c6 * x5 - s6 * z4
    rotation[:, 1] = -s6 * x5 - c6 * z4
    rotation[:, 2] = z5
    wrist = np.array([c1 * reach3, s1 * reach3, height3]) + arm.d[3] * y4
    flange = wrist + arm.d[4] * z4 + arm.d[5] * z5
    position = flange + rotation @ tcp.position
    axes = (_UP, y4, y4, y4, z4, z5)
    origins = (
        _ORIGIN,
        np.array([0.0, 0.0, arm.d[0]]),
        np.array([c1 * reach2, s1 * reach2, height2]),
        np.array([c1 * reach3, s1 * reach3, height3]),
        wrist,
        flange,
    )
    jacobian = np.empty((6, 6))
    for i in range(6):
        ax, ay, az = axes[i]
        rx, ry, rz = position - origins[i]
        jacobian[:, i] = (
            ay * rz - az * ry,
            az * rx - ax * rz,
            ax * ry - ay * rx,
            ax,
            ay,
            az,
        )
    if tcp.quaternion[3] != 1.0:
        rotation = rotation @ matrix_from_quat(tcp.quaternion)
    return position, rotation, jacobian


def _rotation_error(wanted: Array, actual: Array) -> Array:
    """(3,) rotation vector that turns ``actual`` into ``wanted``, both (3, 3)."""
    relative = wanted @ actual.T
    if relative[0, 0] + relative[1, 1] + relative[2, 2] > 2.9:
        # sin(angle) instead of the angle: the same root, and no square root near zero.
        return 0.5 * np.array(
            [
                relative[2, 1] - relative[1, 2],
                relative[0, 2] - relative[2, 0],
                relative[1, 0] - relative[0, 1],
            ]
        )
    return rotvec_from_quat(quat_from_matrix(relative))


def forward(arm: ArmModel, q: Array, tcp: Pose = FLANGE) -> Pose:
    """TCP pose in ``base`` for the (6,) joint angles ``q`` [rad]."""
    position, rotation, _ = _tool_and_jacobian(arm, q, tcp)
    return Pose(position, quat_from_matrix(rotation))


def jacobian(arm: ArmModel, q: Array, tcp: Pose = FLANGE) -> Array:
    """(6, 6) geometric Jacobian: rows are linear [m/s] then angular [rad/s] TCP velocity."""
    return _tool_and_jacobian(arm, q, tcp)[2]


def condition_number(arm: ArmModel, q: Array, tcp: Pose = FLANGE) -> float:
    """Condition number of :func:`jacobian`; grows without bound towards a singularity."""
    return float(np.linalg.cond(jacobian(arm, q, tcp)))


def inverse_near(
    arm: ArmModel,
    pose: Pose,
    seed: Array,
    tcp: Pose = FLANGE,
    tolerance: float = 1e-7,
    iterations: int = 30,
) -> Array | None:
    """Joint angles of the branch that ``seed`` is on, or None where it does not reach ``pose``.

    Damped Newton steps from the seed, as the controller's servoL does near the present joints.

    Args:
        arm: lengths of the arm.
        pose: TCP pose in ``base``.
        seed: (6,) joint angles [rad] to start from.
        tcp: tool centre point seen from the flange.
        tolerance: largest remaining error [m and rad].
        iterations: steps before giving up.
    """
    q = np.array(seed, dtype=float)
    wanted = matrix_from_quat(pose.quaternion)
    damping = 1e-8 * np.eye(6)
    for _ in range(iterations):
        position, rotation, j = _tool_and_jacobian(arm, q, tcp)
        error = np.concatenate([pose.position - position, _rotation_error(wanted, rotation)])
        largest = float(np.abs(error).max())
        if largest < tolerance:
            return q
        if not math.isfinite(largest):
            return None
        step = np.linalg.solve(j.T @ j + damping, j.T @ error)
        # A far target makes the linear step meaningless; a bounded one keeps the branch.
        q = q + step * min(1.0, 0.5 / max(float(np.abs(step).max()), 1e-12))
    return None
