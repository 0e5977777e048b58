# SPDX-License-Identifier: Apache-2.0
"""Where the tool may go: box, table, keep-out boxes, reach and tilt (checks 10, 11, 12).

Every function keeps what was legal before legal: a tool that starts outside may only move inwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sqil_ros.geometry import apply_delta, matrix_from_quat, quat_rotate
from sqil_ros.safety.checks import Check
from sqil_ros.safety.limits import SafetyLimits
from sqil_ros.types import Array, Pose

_HALVINGS = 24
_SLACK = 1e-9
_TOOL_Z = np.array([0.0, 0.0, 1.0])


def clamp_to_box(start: Pose, end: Pose, limits: SafetyLimits) -> Pose:
    """``end`` moved into the workspace, tool corners included.

    Args:
        start: where the motion begins, legal or not.
        end: where the motion would end.
        limits: box, table and corners.

    Returns:
        ``end`` itself where it is allowed, else the nearest allowed pose; per axis, a tool that
        starts outside may not go further. A turn that pushes a corner out is not done.
    """
    if limits.workspace is None:
        return end
    position = _clamped(start.position, end, limits)
    clamped = Pose(position, end.quaternion)
    if _box_excess(clamped, limits) > _box_excess(start, limits) + _SLACK:
        unturned = Pose(end.position, start.quaternion)
        return Pose(_clamped(start.position, unturned, limits), start.quaternion)
    return end if np.array_equal(position, end.position) else clamped


def _clamped(start: Array, end: Pose, limits: SafetyLimits) -> Array:
    low, high = _box_for(end.quaternion, limits)
    return np.minimum(np.maximum(end.position, np.minimum(low, start)), np.maximum(high, start))


def _box_excess(pose: Pose, limits: SafetyLimits) -> float:
    """Metres by which the tool is outside the workspace, 0 inside."""
    low, high = _box_for(pose.quaternion, limits)
    return max(0.0, float(np.max(np.maximum(low - pose.position, pose.position - high))))


def _box_for(quaternion: Array, limits: SafetyLimits) -> tuple[Array, Array]:
    """(3,) lowest and highest TCP position that keep every corner of the tool inside."""
    assert limits.workspace is not None
    corners = _corners(quaternion, limits)
    box_low, box_high = np.array(limits.workspace.low), np.array(limits.workspace.high)
    low = np.maximum(box_low + limits.workspace_margin_m, box_low - corners.min(axis=0))
    high = np.minimum(box_high - limits.workspace_margin_m, box_high - corners.max(axis=0))
    if limits.table_z is not None:
        low[2] = max(low[2], limits.table_z - float(corners[:, 2].min()))
    return low, high


def workspace_complaint(pose: Pose, limits: SafetyLimits) -> str:
    """Why the arm may not be armed at ``pose``; empty where it may."""
    where = np.array2string(pose.position, precision=3)
    if limits.workspace is None:
        return 'No workspace is configured; set workspace.low and workspace.high in base_link.'
    if _box_excess(pose, limits) > 0.0:
        low, high = limits.workspace.low, limits.workspace.high
        return f'TCP at {where} m is outside the workspace {low} .. {high}; home the arm first.'
    if reach_excess(pose.position, limits) > 0.0:
        return (
            f'TCP at {where} m is nearer than {limits.reach_min_m:g} m to the base axis or '
            f'further than {limits.reach_max_m:g} m from the shoulder; home the arm first.'
        )
    if intrusion(pose, limits) > 0.0:
        return f'TCP at {where} m is inside a keep-out box; move the arm out by hand.'
    if tilt(pose.quaternion, limits) > limits.cone_rad:
        return (
            f'The tool is tilted by {tilt(pose.quaternion, limits):.2f} rad, limit '
            f'{limits.cone_rad:.2f} rad; home the arm first.'
        )
    return ''


def intrusion(pose: Pose, limits: SafetyLimits) -> float:
    """Depth [m] of the tool in the worst keep-out box, its margin included; 0 outside all."""
    if not limits.keep_out:
        return 0.0
    points = np.vstack([np.zeros(3), _corners(pose.quaternion, limits)]) + pose.position
    margin = limits.workspace_margin_m
    return max(0.0, *(box.inflated(margin).depth(points) for box in limits.keep_out))


def reach_excess(position: Array, limits: SafetyLimits) -> float:
    """Metres by which a (3,) position is too near the base axis or too far from the shoulder."""
    x, y, z = position
    near = limits.reach_min_m - math.hypot(x, y)
    far = math.sqrt(x * x + y * y + (z - limits.arm.d[0]) ** 2) - limits.reach_max_m
    return max(0.0, near, far)


def tilt(quaternion: Array, limits: SafetyLimits) -> float:
    """Angle [rad] between the tool's z axis and its direction at rest."""
    axis = quat_rotate(quaternion, _TOOL_Z)
    rest = np.array(limits.tool_axis)
    return math.atan2(float(np.linalg.norm(np.cross(axis, rest))), float(axis @ rest))


def largest_translation(
    start: Pose, delta: Array, limits: SafetyLimits
) -> tuple[float, Check | None]:
    """How much of the (6,) delta's translation respects keep-out boxes and reach.

    Returns:
        Fraction 0..1 and the check that made it less than 1.
    """
    reach = reach_excess(start.position, limits) + _SLACK
    depth = intrusion(start, limits) + _SLACK

    def end(fraction: float) -> Pose:
        return apply_delta(start, np.concatenate([delta[:3] * fraction, delta[3:]]))

    def reached(fraction: float) -> bool:
        return reach_excess(end(fraction).position, limits) <= reach

    def kept_out(fraction: float) -> bool:
        return intrusion(end(fraction), limits) <= depth

    if not kept_out(1.0):
        return _largest(lambda fraction: kept_out(fraction) and reached(fraction)), Check.WORKSPACE
    if not reached(1.0):
        return _largest(reached), Check.REACH
    return 1.0, None


def largest_rotation(start: Pose, delta: Array, limits: SafetyLimits) -> float:
    """Fraction 0..1 of the (6,) delta's rotation that keeps the tool inside its cone."""
    most = max(limits.cone_rad, tilt(start.quaternion, limits)) + _SLACK

    def allowed(fraction: float) -> bool:
        end = apply_delta(start, np.concatenate([np.zeros(3), delta[3:] * fraction]))
        return tilt(end.quaternion, limits) <= most

    return _largest(allowed)


def _largest(allowed: Callable[[float], bool]) -> float:
    """Largest fraction that is allowed, by bisection; 1.0 exactly where the whole step is."""
    if allowed(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if allowed(middle) else (low, middle)
    return low


def _corners(quaternion: Array, limits: SafetyLimits) -> Array:
    """(N, 3) tool corners relative to the TCP, in base_link axes; the TCP itself without any."""
    corners = np.array(limits.tool_corners or ((0.0, 0.0, 0.0),))
    return corners @ matrix_from_quat(quaternion).T
