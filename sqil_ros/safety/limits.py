# SPDX-License-Identifier: Apache-2.0
"""Limits of the safety filter: defaults, ranges, and ceilings that no parameter exceeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.errors import ParameterError
from sqil_ros.geometry import quat_rotate
from sqil_ros.kinematics import ARMS, FLANGE, UR5E, ArmModel
from sqil_ros.trajectory import MotionLimits
from sqil_ros.types import Array, Pose

JOINT_LIMITS = np.array([2 * math.pi, 2 * math.pi, math.pi, 2 * math.pi, 2 * math.pi, 2 * math.pi])
"""(6,) largest joint angle [rad] either way; the elbow folds into itself beyond half a turn."""


class Range(NamedTuple):
    """Smallest and largest value of a limit, and what it means."""

    low: float
    high: float
    meaning: str


RANGES = {
    'command_age_s': Range(0.05, 0.5, 'Age [s] of an action above which it is dropped, held.'),
    'silence_stop_s': Range(0.3, 2.0, 'Silence [s] of policy, node or switch that latches.'),
    'observation_age_s': Range(0.05, 1.0, 'Age [s] of the image behind an action.'),
    'joint_state_age_s': Range(0.02, 0.5, 'Age [s] of the robot state when an action arrives.'),
    'controller_age_s': Range(0.02, 0.5, "Standstill [s] of the controller's clock."),
    'node_age_s': Range(0.05, 0.5, "Age [s] of the node's heartbeat in the worker."),
    'deadman_s': Range(0.05, 0.5, 'Age [s] of the enabling switch.'),
    'step_m': Range(0.0005, 0.2, 'Longest translation [m] of an action at 5 Hz.'),
    'step_rad': Range(0.005, 0.5, 'Largest rotation [rad] of an action at 5 Hz.'),
    'workspace_margin_m': Range(0.0, 0.2, 'Distance [m] of the TCP from box and keep-outs.'),
    'cone_rad': Range(0.05, math.pi, 'Largest tilt [rad] of the tool from its rest direction.'),
    'reach_min_m': Range(0.0, 0.5, 'Smallest distance [m] of the TCP from the base axis.'),
    'reach_max_m': Range(0.3, 1.1, 'Largest distance [m] of the TCP from the shoulder.'),
    'joint_margin_rad': Range(0.0, 1.0, "Distance [rad] from a joint's end stops."),
    'joint_speed': Range(0.05, 3.14, 'Joint speed [rad/s] that an action may need.'),
    'joint_acceleration': Range(0.5, 20.0, 'Speeding up [rad/s^2] that an action may need.'),
    'condition_slow': Range(5.0, 200.0, 'Condition number of the Jacobian that begins to slow.'),
    'condition_stop': Range(10.0, 400.0, 'Condition number of the Jacobian that stops.'),
    'bend_min_rad': Range(0.0, 0.5, 'Bend [rad] that elbow and wrist 2 must keep.'),
    'tracking_m': Range(0.01, 0.2, 'Distance [m] between setpoint and arm.'),
    'tracking_rad': Range(0.05, 0.7, 'Angle [rad] between setpoint and arm.'),
    'tracking_s': Range(0.05, 1.0, 'How long [s] the arm may be away from its setpoint.'),
    'force_hold_n': Range(5.0, 140.0, 'Contact force [N] that holds the arm.'),
    'torque_hold_nm': Range(1.0, 20.0, 'Contact torque [Nm] that holds the arm.'),
    'force_stop_n': Range(10.0, 150.0, 'Contact force [N] that latches at once.'),
    'contact_s': Range(0.1, 5.0, 'How long [s] a contact may last before it latches.'),
    'stuck_s': Range(1.0, 600.0, 'How long [s] motion may be asked for in vain.'),
    'episode_s': Range(1.0, 3600.0, 'Longest episode [s].'),
    'first_step_m': Range(0.001, 0.05, 'Longest first translation [m] after arming.'),
    'ramp_s': Range(0.0, 10.0, 'Time [s] until full steps are allowed.'),
}
"""Range of every limit that a parameter may set; the upper ends are ceilings."""

RATE_RANGE = (1.0, 50.0)

MOTION_CEILINGS = {
    'linear_speed': 1.0,
    'angular_speed': 2.0,
    'linear_acceleration': 2.5,
    'angular_acceleration': 5.2,
}
"""Ceilings on :class:`MotionLimits`, in m/s, rad/s, m/s^2 and rad/s^2."""


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in ``base_link``; corners (x, y, z) [m]."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Refuse a box that holds nothing.

        Raises:
            ParameterError: a corner is not finite or low is not below high.
        """
        if not np.all(np.isfinite([*self.low, *self.high])) or not all(
            low < high for low, high in zip(self.low, self.high, strict=True)
        ):
            raise ParameterError(
                f'Box from {self.low} to {self.high} is empty or not finite; each low corner must '
                'be below its high corner, in metres.'
            )

    def depth(self, points: Array) -> float:
        """How deep [m] the deepest of the (N, 3) points is inside; negative outside."""
        inside = np.minimum(points - np.array(self.low), np.array(self.high) - points)
        return float(inside.min(axis=1).max())

    def inflated(self, margin: float) -> Box:
        """The box grown by ``margin`` [m] on every side."""
        x0, y0, z0 = self.low
        x1, y1, z1 = self.high
        return Box(
            (x0 - margin, y0 - margin, z0 - margin), (x1 + margin, y1 + margin, z1 + margin)
        )


def _default_corners() -> tuple[tuple[float, float, float], ...]:
    """Finger tips of an open Robotiq 2F-85 seen from the TCP: 10 cm wide, 8 mm beyond it."""
    return tuple((x, y, 0.008) for x in (-0.05, 0.05) for y in (-0.05, 0.05))


@dataclass(frozen=True)
class SafetyLimits:
    """Every figure of docs/safety.md. Lengths in metres, angles in radians, times in seconds.

    Attributes:
        rate_hz: control steps a second; step limits are given for 5 Hz and scale with it.
        workspace: where the TCP and the tool corners may go; None refuses to arm.
        table_z: height of the table plane that no tool corner may pass, or None.
        keep_out: boxes that neither the TCP nor a tool corner may enter.
        tool_corners: points of the tool seen from the TCP.
        tool_axis: direction the tool's z axis points to at rest, the middle of the cone.
        drops_to_stop: dropped actions in a row that latch a fault.
        reject_factor: a step this many times too long is dropped instead of shortened.
        motion: speed and acceleration limits of the TCP.
        episode_steps: accepted actions in an episode, 0 for no limit.
    """

    rate_hz: float = 5.0
    arm: ArmModel = UR5E
    tcp: Pose = FLANGE
    workspace: Box | None = None
    table_z: float | None = None
    keep_out: tuple[Box, ...] = ()
    workspace_margin_m: float = 0.02
    tool_corners: tuple[tuple[float, float, float], ...] = field(default_factory=_default_corners)
    tool_axis: tuple[float, float, float] = (0.0, 0.0, -1.0)
    frame: str = 'base_link'
    command_age_s: float = 0.3
    silence_stop_s: float = 1.0
    observation_age_s: float = 0.5
    joint_state_age_s: float = 0.1
    future_s: float = 0.1
    drops_to_stop: int = 3
    deadman_s: float = 0.25
    step_m: float = 0.05
    step_rad: float = 0.25
    reject_factor: float = 3.0
    motion: MotionLimits = field(default_factory=MotionLimits)
    cone_rad: float = math.radians(45.0)
    reach_min_m: float = 0.18
    reach_max_m: float = 0.80
    joint_margin_rad: float = 0.1
    joint_speed: float = 1.0
    joint_acceleration: float = 5.0
    condition_slow: float = 20.0
    condition_stop: float = 60.0
    bend_min_rad: float = 0.15
    tracking_m: float = 0.10
    tracking_rad: float = 0.35
    tracking_s: float = 0.3
    controller_age_s: float = 0.1
    node_age_s: float = 0.2
    force_hold_n: float = 40.0
    torque_hold_nm: float = 8.0
    force_stop_n: float = 80.0
    contact_s: float = 2.0
    gripper_close_below: float = 0.4
    gripper_open_above: float = 0.6
    gripper_dwell_s: float = 0.3
    gripper_toggles_per_s: int = 2
    stuck_s: float = 10.0
    stuck_m: float = 0.01
    flips_per_s: int = 5
    episode_s: float = 300.0
    episode_steps: int = 0
    first_step_m: float = 0.02
    ramp_s: float = 1.0

    def __post_init__(self) -> None:
        """Check every range and ceiling.

        Raises:
            ParameterError: a limit is outside its range; the message names both.
        """
        _require('rate_hz', self.rate_hz, *RATE_RANGE)
        for name, (low, high, _) in RANGES.items():
            _require(name, getattr(self, name), low, high)
        for name, ceiling in MOTION_CEILINGS.items():
            _require(f'motion.{name}', getattr(self.motion, name), 1e-3, ceiling)
        if self.condition_slow >= self.condition_stop:
            raise ParameterError(
                f'condition_slow = {self.condition_slow:g} must be below condition_stop = '
                f'{self.condition_stop:g}; slowing has to begin before stopping.'
            )

    @classmethod
    def for_contract(cls, contract: Contract, **overrides: Any) -> SafetyLimits:
        """Limits of the robot that ``contract`` describes; ``overrides`` replace other defaults.

        Raises:
            ParameterError: the robot is unknown or a limit is outside its range.
        """
        if contract.robot not in ARMS:
            raise ParameterError(
                f'No kinematics for robot {contract.robot!r}; known are {sorted(ARMS)}.'
            )
        axis = quat_rotate(np.array(contract.tool_down), np.array([0.0, 0.0, 1.0]))
        known: dict[str, Any] = {
            'rate_hz': contract.rate_hz,
            'arm': ARMS[contract.robot],
            'tcp': contract.tcp,
            'frame': contract.frame,
            'tool_axis': tuple(float(value) for value in axis),
        }
        return cls(**{**known, **overrides})

    @property
    def step_limits(self) -> tuple[float, float]:
        """Longest translation [m] and rotation [rad] of one action at ``rate_hz``."""
        scale = 5.0 / self.rate_hz
        return self.step_m * scale, self.step_rad * scale

    @property
    def speed_limits(self) -> tuple[float, float]:
        """Translation [m] and rotation [rad] that the speed limits allow in one period."""
        return self.motion.linear_speed / self.rate_hz, self.motion.angular_speed / self.rate_hz


def _require(name: str, value: float, low: float, high: float) -> None:
    # NaN fails both comparisons, so it is refused as well.
    if not low <= value <= high:
        raise ParameterError(
            f'{name} = {value:g} is outside {low:g} .. {high:g}; the upper end is a ceiling that '
            'no parameter may exceed.'
        )
