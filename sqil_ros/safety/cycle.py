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
from sqil_ros.safety.checks import Check, Fault, Stop, Verdict
from sqil_ros.safety.limits import MOTION_CEILINGS, RANGES, SafetyLimits
from sqil_ros.trajectory import Setpoint
from sqil_ros.types import Array, Pose

ROBOT_RUNNING = 7
SAFETY_NORMAL, SAFETY_REDUCED, SAFETY_PROTECTIVE = 1, 2, 3
SAFETY_EMERGENCY = frozenset({6, 7})
PROGRAM_STOPPED, PROGRAM_PLAYING = 1, 2


@dataclass(frozen=True)
class CycleState:
    """What the worker knows in one cycle.

    Attributes:
        robot_mode: RTDE robot mode, 7 is running.
        safety_mode: RTDE safety mode, 1 normal, 2 reduced, 3 protective, 6 and 7 emergency stop.
        runtime_state: RTDE program state, 2 is playing.
        controller_age_s: since the controller's own time last advanced.
        connected: whether the link is up.
        measured: TCP pose in ``base_link``.
        joints: (6,) [rad].
        wrench: (6,) force [N] and torque [Nm] at the TCP, bias removed.
        command_age_s: since the last accepted action; None before the first one.
        commander_alive: whether the policy's process lives, as far as the middleware knows.
        node_age_s: since the node's last heartbeat.
        deadman_age_s: since the enabling switch was last seen pressed; None where none is used.
    """

    robot_mode: int
    safety_mode: int
    runtime_state: int
    controller_age_s: float
    connected: bool
    measured: Pose
    joints: Array
    wrench: Array
    command_age_s: float | None
    commander_alive: bool
    node_age_s: float
    deadman_age_s: float | None


@dataclass(frozen=True)
class CycleMemory:
    """Since when [s] the tracking error and the contact force have been too large."""

    tracking_since_s: float | None = None
    contact_since_s: float | None = None


@dataclass(frozen=True)
class CycleResult:
    """PASS, HOLD or STOP, the check that decided, what a STOP latches, and the next memory."""

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
    for judge in (_silence, _contact):
        verdict, check, fault, message = judge(state, memory, limits, now_s)
        if verdict is not Verdict.PASS:
            return CycleResult(verdict, check, fault, message, memory)
    if memory.tracking_since_s is not None:
        lasted = now_s - memory.tracking_since_s
        if lasted > limits.tracking_s:
            return CycleResult(
                Verdict.STOP,
                Check.TRACKING,
                Fault.TRACKING_ERROR,
                f'The arm has been more than {limits.tracking_m:g} m or {limits.tracking_rad:g} '
                f'rad from its setpoint for {lasted:.2f} s; look for an obstacle or a wrong '
                'payload.',
                memory,
            )
    if setpoint is not None:
        stop = _too_fast(state, setpoint, limits)
        if stop is not None:
            return CycleResult(Verdict.STOP, *stop, memory)
    return CycleResult(Verdict.PASS, None, None, '', memory)


def controller_stop(state: CycleState, limits: SafetyLimits) -> Stop | None:
    """Checks 5 and 22: what makes the controller unable to follow, or None."""
    if not state.connected:
        return Stop(
            Check.ROBOT_STATE,
            Fault.LINK_LOST,
            'The connection to the controller was lost; check cable and controller, then reset.',
        )
    if state.controller_age_s > limits.controller_age_s:
        return Stop(
            Check.ROBOT_STATE,
            Fault.CONTROLLER_FROZEN,
            f'No new state from the controller for {state.controller_age_s:.2f} s, limit '
            f'{limits.controller_age_s:g} s; check network and controller, then reset.',
        )
    if state.safety_mode == SAFETY_PROTECTIVE:
        return Stop(
            Check.CONTROLLER_STOP,
            Fault.PROTECTIVE_STOP,
            'Protective stop; clear the cause, wait 5 s, then call reset_fault.',
        )
    if state.safety_mode in SAFETY_EMERGENCY:
        return Stop(
            Check.CONTROLLER_STOP,
            Fault.EMERGENCY_STOP,
            'Emergency stop; release the button and power the arm at the pendant, then reset.',
        )
    if state.safety_mode not in (SAFETY_NORMAL, SAFETY_REDUCED):
        return Stop(
            Check.ROBOT_STATE,
            Fault.ROBOT_NOT_READY,
            f'Safety mode {state.safety_mode}, needed 1 (normal) or 2 (reduced); see the pendant.',
        )
    if state.robot_mode != ROBOT_RUNNING:
        return Stop(
            Check.ROBOT_STATE,
            Fault.ROBOT_NOT_READY,
            f'Robot mode {state.robot_mode}, needed {ROBOT_RUNNING} (running); power the arm on '
            'and release its brakes.',
        )
    if state.runtime_state != PROGRAM_PLAYING:
        return Stop(
            Check.ROBOT_STATE,
            Fault.PROGRAM_STOPPED,
            f'The control program stopped (runtime state {state.runtime_state}); reset to upload '
            'it again.',
        )
    return None


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


def _silence(
    state: CycleState, memory: CycleMemory, limits: SafetyLimits, now_s: float
) -> Judgement:
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
    if age is not None and age > limits.silence_stop_s:
        return Judgement(
            Verdict.STOP,
            Check.COMMAND_AGE,
            Fault.POLICY_LOST,
            f'No accepted action for {age:.2f} s, limit {limits.silence_stop_s:g} s; see why the '
            'policy stopped, then reset.',
        )
    if state.node_age_s > limits.node_age_s:
        return Judgement(Verdict.HOLD, Check.PROCESS, None, 'The robot node is late.')
    if state.deadman_age_s is not None and state.deadman_age_s > limits.deadman_s:
        return Judgement(Verdict.HOLD, Check.DEADMAN, None, 'The enabling switch is released.')
    if age is not None and not state.commander_alive:
        return Judgement(Verdict.HOLD, Check.PROCESS, None, 'The policy has gone.')
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
    if force > limits.force_stop_n or lasted > limits.hold_stop_s:
        return Judgement(
            Verdict.STOP,
            Check.CONTACT,
            Fault.CONTACT_FORCE,
            f'{felt}, limits {limits.force_hold_n:g} N and {limits.torque_hold_nm:g} Nm for '
            f'{limits.hold_stop_s:g} s, {limits.force_stop_n:g} N at once; free the arm, reset.',
        )
    if memory.contact_since_s is not None:
        return Judgement(Verdict.HOLD, Check.CONTACT, None, felt)
    return _FINE


def _too_fast(state: CycleState, setpoint: Setpoint, limits: SafetyLimits) -> Stop | None:
    """The last look at what is about to be sent; the filter and the path keep far below this."""
    values = (*setpoint.pose.position, *setpoint.pose.quaternion)
    speeds = np.concatenate([setpoint.linear_velocity, setpoint.angular_velocity])
    if not np.all(np.isfinite(values)) or not np.all(np.isfinite(speeds)):
        return Stop(
            Check.MALFORMED,
            Fault.MALFORMED_ACTION,
            'The setpoint is not finite; nothing was sent. Report this with the log.',
        )
    linear, angular = (float(np.linalg.norm(part)) for part in (speeds[:3], speeds[3:]))
    if linear > MOTION_CEILINGS['linear_speed'] or angular > MOTION_CEILINGS['angular_speed']:
        return Stop(
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
        return Stop(
            Check.JOINT_SPEED,
            Fault.JOINT_SPEED,
            f'The setpoint needs {joint_speed:.1f} rad/s of a joint, ceiling {ceiling:g} rad/s: '
            f'condition number {condition_number(limits.arm, state.joints, limits.tcp):.0f}; '
            'move away from the singularity by hand, then reset.',
        )
    return None
