# SPDX-License-Identifier: Apache-2.0
"""What is checked in every cycle of the robot (checks 2, 5, 6, 8, 9, 14-17, 21, 22).

Pure as the action filter is; the worker calls it at 125 or 500 Hz with what it has measured.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sqil_ros.geometry import rotation_angle
from sqil_ros.kinematics import condition_number, jacobian
from sqil_ros.safety.checks import Check, Fault, Verdict
from sqil_ros.safety.controller import CycleState, controller_stop
from sqil_ros.safety.limits import MOTION_CEILINGS, RANGES, SafetyLimits
from sqil_ros.trajectory import Setpoint


@dataclass(frozen=True)
class CycleMemory:
    """Since when [s] the tracking error and the contact force have been too large."""

    tracking_since_s: float | None = None
    contact_since_s: float | None = None


@dataclass(frozen=True)
class CycleResult:
    """What happens, the check that decided, what a STOP latches, and the next memory."""

    verdict: Verdict
    check: Check | None
    fault: Fault | None
    message: str
    memory: CycleMemory


def check_cycle(
    state: CycleState,
    setpoint: Setpoint | None,
    memory: CycleMemory,
    limits: SafetyLimits,
    now_s: float,
) -> CycleResult:
    """Judge one cycle.

    Args:
        state: measurements and ages.
        setpoint: what would be sent; None where nothing is streamed (dry run).
        memory: what the cycle before returned.
        limits: figures of docs/safety.md.
        now_s: seconds of a clock that does not jump.
    """
    stop = controller_stop(state, limits)
    if stop is not None:
        return CycleResult(Verdict.STOP, *stop, memory)
    memory = _since(state, setpoint, memory, limits, now_s)
    worst = max(
        _silence(state, limits),
        _contact(state, memory, limits, now_s),
        _tracking(memory, limits, now_s),
        _FINE if setpoint is None else _last_look(state, setpoint, limits),
        key=lambda judgement: judgement.verdict,
    )
    return CycleResult(*worst, memory)


def _since(
    state: CycleState,
    setpoint: Setpoint | None,
    memory: CycleMemory,
    limits: SafetyLimits,
    now_s: float,
) -> CycleMemory:
    away = setpoint is not None and (
        float(np.linalg.norm(setpoint.pose.position - state.measured.position)) > limits.tracking_m
        or rotation_angle(setpoint.pose.quaternion, state.measured.quaternion)
        > limits.tracking_rad
    )
    touching = (
        float(np.linalg.norm(state.wrench[:3])) > limits.force_hold_n
        or float(np.linalg.norm(state.wrench[3:])) > limits.torque_hold_nm
    )
    return dataclasses.replace(
        memory,
        tracking_since_s=_start(memory.tracking_since_s, away, now_s),
        contact_since_s=_start(memory.contact_since_s, touching, now_s),
    )


def _start(since_s: float | None, active: bool, now_s: float) -> float | None:
    if not active:
        return None
    return now_s if since_s is None else since_s


class Judgement(NamedTuple):
    """One opinion about a cycle."""

    verdict: Verdict
    check: Check | None
    fault: Fault | None
    message: str


_FINE = Judgement(Verdict.PASS, None, None, '')


def _silence(state: CycleState, limits: SafetyLimits) -> Judgement:
    """Checks 21, 6 and 2: somebody upstream has fallen silent."""
    if state.node_age_s > limits.silence_stop_s:
        return Judgement(
            Verdict.STOP,
            Check.PROCESS,
            Fault.NODE_LOST,
            f'No heartbeat of the robot node for {state.node_age_s:.2f} s; restart it.',
        )
    if state.deadman_age_s is not None and state.deadman_age_s > limits.silence_stop_s:
        return Judgement(
            Verdict.STOP,
            Check.DEADMAN,
            Fault.DEADMAN_RELEASED,
            f'The enabling switch was released for {state.deadman_age_s:.2f} s; press it, reset '
            'and arm.',
        )
    age = state.command_age_s
    # While the node is silent nobody can know about the policy.
    node_late = state.node_age_s > limits.node_age_s
    if age is not None and age > limits.silence_stop_s and not node_late:
        return Judgement(
            Verdict.STOP,
            Check.COMMAND_AGE,
            Fault.POLICY_LOST,
            f'No accepted action for {age:.2f} s, limit {limits.silence_stop_s:g} s; see why the '
            'policy stopped, then reset.',
        )
    if state.deadman_age_s is not None and state.deadman_age_s > limits.deadman_s:
        return Judgement(Verdict.BRAKE, Check.DEADMAN, None, 'The enabling switch is released.')
    if age is not None and not state.commander_alive:
        return Judgement(Verdict.BRAKE, Check.PROCESS, None, 'The policy has gone.')
    if node_late:
        return Judgement(Verdict.HOLD, Check.PROCESS, None, 'The robot node is late.')
    if age is not None and age > limits.command_age_s:
        return Judgement(
            Verdict.HOLD, Check.COMMAND_AGE, None, f'The last action is {age:.2f} s old.'
        )
    return _FINE


def _contact(
    state: CycleState, memory: CycleMemory, limits: SafetyLimits, now_s: float
) -> Judgement:
    """Check 17."""
    force = float(np.linalg.norm(state.wrench[:3]))
    torque = float(np.linalg.norm(state.wrench[3:]))
    felt = f'{force:.0f} N and {torque:.1f} Nm at the tool'
    lasted = 0.0 if memory.contact_since_s is None else now_s - memory.contact_since_s
    if force > limits.force_stop_n or lasted > limits.contact_s:
        return Judgement(
            Verdict.STOP,
            Check.CONTACT,
            Fault.CONTACT_FORCE,
            f'{felt}, limits {limits.force_hold_n:g} N and {limits.torque_hold_nm:g} Nm for '
            f'{limits.contact_s:g} s, {limits.force_stop_n:g} N at once; free the arm, reset.',
        )
    if memory.contact_since_s is not None and not state.retreating:
        return Judgement(Verdict.BRAKE, Check.CONTACT, None, felt)
    return _FINE


def _tracking(memory: CycleMemory, limits: SafetyLimits, now_s: float) -> Judgement:
    """Check 16."""
    since_s = memory.tracking_since_s
    if since_s is None or now_s - since_s <= limits.tracking_s:
        return _FINE
    return Judgement(
        Verdict.STOP,
        Check.TRACKING,
        Fault.TRACKING_ERROR,
        f'The arm has been more than {limits.tracking_m:g} m or {limits.tracking_rad:g} rad from '
        f'its setpoint for {now_s - since_s:.2f} s; look for an obstacle or a wrong payload.',
    )


def _last_look(state: CycleState, setpoint: Setpoint, limits: SafetyLimits) -> Judgement:
    """What is about to be sent, against ceilings that filter and path keep far below."""
    values = (*setpoint.pose.position, *setpoint.pose.quaternion)
    speeds = np.concatenate([setpoint.linear_velocity, setpoint.angular_velocity])
    if not np.all(np.isfinite(values)) or not np.all(np.isfinite(speeds)):
        return Judgement(
            Verdict.STOP,
            Check.MALFORMED,
            Fault.MALFORMED_ACTION,
            'The setpoint is not finite; nothing was sent. Report this with the log.',
        )
    linear, angular = (float(np.linalg.norm(part)) for part in (speeds[:3], speeds[3:]))
    if linear > MOTION_CEILINGS['linear_speed'] or angular > MOTION_CEILINGS['angular_speed']:
        return Judgement(
            Verdict.STOP,
            Check.TCP_SPEED,
            Fault.JUMP,
            f'The setpoint moves at {linear:.2f} m/s and {angular:.2f} rad/s; ceilings '
            f'{MOTION_CEILINGS["linear_speed"]:g} m/s and {MOTION_CEILINGS["angular_speed"]:g} '
            'rad/s.',
        )
    j = jacobian(limits.arm, state.joints, limits.tcp)
    # Half a turn about z takes base_link's axes to the base's, which the Jacobian speaks.
    in_base = speeds * np.array([-1.0, -1.0, 1.0, -1.0, -1.0, 1.0])
    joint_speed = float(np.max(np.abs(np.linalg.lstsq(j, in_base, rcond=1e-6)[0])))
    ceiling = RANGES['joint_speed'].high
    if joint_speed > ceiling:
        return Judgement(
            Verdict.STOP,
            Check.JOINT_SPEED,
            Fault.JOINT_SPEED,
            f'The setpoint needs {joint_speed:.1f} rad/s of a joint, ceiling {ceiling:g} rad/s: '
            f'condition number {condition_number(limits.arm, state.joints, limits.tcp):.0f}; '
            'move away from the singularity by hand, then reset.',
        )
    return _FINE
