# SPDX-License-Identifier: Apache-2.0
"""What the controller says of itself, and what makes it unable to follow (checks 5 and 22)."""

from __future__ import annotations

from dataclasses import dataclass

from sqil_ros.safety.checks import Check, Fault, Stop
from sqil_ros.safety.limits import SafetyLimits
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
        retreating: whether the newest target leads back from what the arm was braked at.
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
    retreating: bool = False


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
