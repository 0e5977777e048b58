# SPDX-License-Identifier: Apache-2.0
"""What the robot node and its worker process say to each other: frozen values as JSON lines.

Poses travel as seven numbers x y z [m] qx qy qz qw in ``base_link``; times are seconds of the
machine's monotonic clock, which both processes share.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from sqil_ros.errors import SqilError
from sqil_ros.types import Pose

Vector = tuple[float, ...]


class ProtocolError(SqilError):
    """A message between node and worker is not one of this module."""


class Mode(IntEnum):
    """State of the worker; the first five are those of ``SafetyStatus``."""

    DISARMED = 0
    DRY_RUN = 1
    ARMED = 2
    HOLD = 3
    FAULT = 4
    HOMING = 5


@dataclass(frozen=True)
class Configure:
    """First message to the worker: its settings as JSON (see ``settings``)."""

    settings: str


@dataclass(frozen=True)
class Heartbeat:
    """The node lives, perhaps the policy does, and the enabling switch was seen pressed."""

    commander_alive: bool
    enabled: bool


@dataclass(frozen=True)
class Arm:
    """Follow targets from now on; in a dry run only compute what would be sent."""

    request: int
    dry_run: bool


@dataclass(frozen=True)
class Disarm:
    """Brake and ignore targets."""

    request: int


@dataclass(frozen=True)
class Home:
    """Move to the contract's home joints and open the gripper."""

    request: int


@dataclass(frozen=True)
class Target:
    """A filtered action. A target of an older ``epoch`` was made from a pose that is void."""

    epoch: int
    start_s: float
    pose: Vector
    gripper: float


@dataclass(frozen=True)
class Latch:
    """Brake and latch ``fault``, which the node has found."""

    fault: str
    message: str


@dataclass(frozen=True)
class Quit:
    """Brake, stop the program and end the process."""


@dataclass(frozen=True)
class Reply:
    """Outcome of an Arm, Disarm or Home; the state that it led to has been sent before."""

    request: int
    ok: bool
    message: str


@dataclass(frozen=True)
class Faulted:
    """A fault was latched."""

    fault: str
    message: str


@dataclass(frozen=True)
class Busy:
    """The worker may be silent for this long [s], while it builds a client."""

    seconds: float


@dataclass(frozen=True)
class RobotState:
    """One sample of the robot.

    Attributes:
        stamp_s: when it was read.
        mode: a :class:`Mode`.
        epoch: grows whenever the target is seeded anew from the measured pose.
        joints, joint_speeds: (6,) rad, rad/s.
        tcp, target: measured pose and the newest target, seven numbers each.
        twist: (6,) m/s and rad/s of the TCP in ``base_link``.
        wrench: (6,) N and Nm at the TCP in ``base_link``, bias removed while armed.
        gripper, gripper_target: opening, measured and commanded.
        check_counts: cycle checks that acted, indexed by number.
        late_cycles: cycles that began more than one period late.
    """

    stamp_s: float
    mode: int
    epoch: int
    joints: Vector
    joint_speeds: Vector
    tcp: Vector
    target: Vector
    twist: Vector
    wrench: Vector
    gripper: float
    gripper_target: float
    robot_mode: int
    safety_mode: int
    runtime_state: int
    check_counts: tuple[int, ...]
    late_cycles: int


Message = (
    Configure
    | Heartbeat
    | Arm
    | Disarm
    | Home
    | Target
    | Latch
    | Quit
    | Reply
    | Faulted
    | Busy
    | RobotState
)
_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Configure,
        Heartbeat,
        Arm,
        Disarm,
        Home,
        Target,
        Latch,
        Quit,
        Reply,
        Faulted,
        Busy,
        RobotState,
    )
}


def encode(message: Message) -> bytes:
    """One message as JSON: its kind, then its fields in order."""
    values = [getattr(message, field.name) for field in dataclasses.fields(message)]
    return json.dumps([type(message).__name__, *values]).encode()


def decode(data: bytes) -> Message:
    """Inverse of :func:`encode`.

    Raises:
        ProtocolError: not a message, or a field of the wrong type.
    """
    try:
        kind, *values = json.loads(data)
        fields = dataclasses.fields(_KINDS[kind])
        if len(values) != len(fields):
            raise ValueError(f'{len(values)} fields instead of {len(fields)}')
        return _KINDS[kind](
            *(_READ[str(field.type)](value) for field, value in zip(fields, values, strict=True))
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ProtocolError(
            f'Not a message of this version: {data[:80]!r} ({error}); node and worker must come '
            'from the same installation.'
        ) from error


def pose_to_vector(pose: Pose) -> Vector:
    """Seven numbers x y z qx qy qz qw."""
    return (*(float(v) for v in pose.position), *(float(v) for v in pose.quaternion))


def pose_from_vector7(vector: Vector) -> Pose:
    """Inverse of :func:`pose_to_vector`."""
    return Pose(np.array(vector[:3]), np.array(vector[3:7]))


def _exactly(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f'{value!r} is not {kind.__name__}')
        return value

    return read


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f'{value!r} is not a number')
    return float(value)


_READ: dict[str, Callable[[Any], Any]] = {
    'str': _exactly(str),
    'int': _exactly(int),
    'bool': _exactly(bool),
    'float': _number,
    'Vector': lambda value: tuple(_number(item) for item in _exactly(list)(value)),
    'tuple[int, ...]': lambda value: tuple(_exactly(int)(item) for item in _exactly(list)(value)),
}
