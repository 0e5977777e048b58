# SPDX-License-Identifier: Apache-2.0
"""What a TCP step asks of the joints (checks 13, 14, 15), by nominal kinematics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sqil_ros.geometry import apply_delta, base_from_base_link
from sqil_ros.kinematics import condition_number, inverse_near
from sqil_ros.safety.checks import Check
from sqil_ros.safety.limits import JOINT_LIMITS, SafetyLimits
from sqil_ros.types import Array, Pose

_BRANCH_CHANGE_RAD = 1.0
_SLOWEST = 0.1
_ELBOW, _WRIST_2 = 2, 4


@dataclass(frozen=True)
class JointStep:
    """How much of a TCP step the joints can follow.

    Attributes:
        joints: (6,) solution [rad] at the end of the shortened step, or None if there is none.
        fraction: how much of the step may be done, 1.0 for all of it.
        check: the check that shortened or refused the step, or None.
        message: why the step was refused.
    """

    joints: Array | None
    fraction: float = 1.0
    check: Check | None = None
    message: str = ''


def joint_step(
    start: Pose, delta: Array, seed: Array, seed_step: Array, limits: SafetyLimits
) -> JointStep:
    """Solve a step's end near ``seed`` and judge it.

    Args:
        start: commanded pose in ``base_link`` that the step begins at.
        delta: (6,) translation and rotation vector.
        seed: (6,) joints [rad] that belong to ``start``.
        seed_step: (6,) joint motion [rad] of the step before; speeding up is limited from there.
        limits: joint margins and speeds.
    """
    joints = _solve(apply_delta(start, delta), seed, limits)
    if isinstance(joints, str):
        return JointStep(None, 0.0, Check.KINEMATICS, joints)
    fraction, check = _speed_fraction(joints - seed, seed_step, limits)
    slow, reason = _singularity_fraction(joints, seed, limits)
    if slow == 0.0:
        return JointStep(None, 0.0, Check.SINGULARITY, reason)
    if slow < fraction:
        fraction, check = slow, Check.SINGULARITY
    if fraction < 1.0:
        joints = _solve(apply_delta(start, delta * fraction), seed, limits)
        if isinstance(joints, str):
            return JointStep(None, 0.0, Check.KINEMATICS, joints)
    return JointStep(joints, fraction, check)


def _solve(pose: Pose, seed: Array, limits: SafetyLimits) -> Array | str:
    """Joints of the seed's branch, or the reason why there are none."""
    joints = inverse_near(limits.arm, base_from_base_link(pose), seed, limits.tcp)
    where = np.array2string(pose.position, precision=3)
    if joints is None:
        return f'The arm does not reach {where} m; keep targets inside its reach.'
    if float(np.max(np.abs(joints - seed))) > _BRANCH_CHANGE_RAD:
        return f'{where} m needs another arm configuration; approach it from elsewhere.'
    room = JOINT_LIMITS - limits.joint_margin_rad - np.abs(joints)
    tight = int(np.argmin(room))
    # A joint that is already beyond its margin may still come back.
    if room[tight] < 0.0 and abs(joints[tight]) > abs(seed[tight]):
        return (
            f'Joint {tight + 1} would turn to {joints[tight]:.2f} rad; its limit is '
            f'{JOINT_LIMITS[tight] - limits.joint_margin_rad:.2f} rad.'
        )
    return joints


def _speed_fraction(
    motion: Array, previous: Array, limits: SafetyLimits
) -> tuple[float, Check | None]:
    """Share of the joint motion that the speed and acceleration limits allow in one period."""
    period = 1.0 / limits.rate_hz
    allowed = np.minimum(
        limits.joint_speed * period,
        np.abs(previous) + limits.joint_acceleration * period * period,
    )
    share = float(np.min(allowed / np.maximum(np.abs(motion), 1e-12)))
    return (share, Check.JOINT_SPEED) if share < 1.0 else (1.0, None)


def _singularity_fraction(joints: Array, seed: Array, limits: SafetyLimits) -> tuple[float, str]:
    """1 far from singularities or leading away from one, less on approach, 0 too close."""
    for joint, name in ((_ELBOW, 'elbow'), (_WRIST_2, 'wrist 2')):
        bend = abs(joints[joint])
        if bend < limits.bend_min_rad and bend < abs(seed[joint]):
            return 0.0, (
                f'The {name} would straighten to {bend:.2f} rad; it must stay bent by '
                f'{limits.bend_min_rad:g} rad.'
            )
    number = condition_number(limits.arm, joints, limits.tcp)
    if number <= limits.condition_slow:
        return 1.0, ''
    if number <= condition_number(limits.arm, seed, limits.tcp):
        return 1.0, ''
    if number > limits.condition_stop:
        return 0.0, (
            f'Condition number {number:.0f} is beyond {limits.condition_stop:g}: too close to a '
            'singularity; come from another direction.'
        )
    span = limits.condition_stop - limits.condition_slow
    return max(_SLOWEST, (limits.condition_stop - number) / span), ''
