# SPDX-License-Identifier: Apache-2.0
"""From one aligned frame to what the policy sees: the same function live and offline."""

from __future__ import annotations

from dataclasses import dataclass

from sqil_ros.align import Frame, Sample
from sqil_ros.contract import Contract, state_from_pose
from sqil_ros.errors import ObservationError, ParameterError, StaleObservation
from sqil_ros.types import Image, Observation, Pose

TCP_POSE = 'robot/tcp_pose'
TARGET_POSE = 'robot/target_pose'
GRIPPER = 'robot/gripper'
TARGET_GRIPPER = 'robot/target_gripper'
STAMPED = (TCP_POSE, TARGET_POSE)
UNSTAMPED = (GRIPPER, TARGET_GRIPPER)

_NS_PER_MS = 1e6
_OPENING_SLACK = 0.05


def channels(contract: Contract) -> tuple[str, ...]:
    """Names of everything that is held at a tick: the other cameras, poses and gripper."""
    return (*(camera.name for camera in contract.cameras[1:]), *STAMPED, *UNSTAMPED)


@dataclass(frozen=True)
class FreshnessLimits:
    """How old [ms] things may be before the policy refuses to act on them.

    Attributes:
        image_ms: age of the image when the step begins.
        sample_ms: how far a held sample may lag behind the image.
    """

    image_ms: float = 300.0
    sample_ms: float = 300.0

    def __post_init__(self) -> None:
        for name, value in (('image', self.image_ms), ('sample', self.sample_ms)):
            if not value > 0.0:
                raise ParameterError(f'The {name} age limit is {value} ms; it must be above 0.')


def build_observation(
    contract: Contract,
    frame: Frame,
    instruction: str,
    limits: FreshnessLimits,
    now_ns: int | None = None,
) -> Observation:
    """Put a frame's samples in the contract's order.

    Args:
        contract: order of the cameras and orientation of the tool.
        frame: one tick from :func:`sqil_ros.align.align` or its live twin.
        instruction: what the operator asked for.
        limits: ages above which the frame is refused.
        now_ns: time of the clock that stamped the image; offline there is none.

    Raises:
        ObservationError: a channel has never sent anything, or there is no instruction.
        StaleObservation: the image or a held sample is too old.
    """
    stamp_ns = frame.image.stamp_ns
    if now_ns is not None:
        _check_age('The image', (now_ns - stamp_ns) / _NS_PER_MS, limits.image_ms)
    if not instruction.strip():
        raise ObservationError(
            'There is no instruction; publish one text on the latched topic `instruction`.'
        )
    wrist: list[Image] = [
        _held(frame, camera.name, limits).value for camera in contract.cameras[1:]
    ]
    tcp: Pose = _held(frame, TCP_POSE, limits).value
    target: Pose = _held(frame, TARGET_POSE, limits).value
    measured = _held(frame, GRIPPER, limits)
    # A robot without a commanded opening of its own is taken at its measured one.
    wanted = frame.held.get(TARGET_GRIPPER) or measured
    return Observation(
        images=(frame.image.value, *wrist),
        state=state_from_pose(contract, tcp, _opening(GRIPPER, measured)),
        command=state_from_pose(contract, target, _opening(TARGET_GRIPPER, wanted)),
        instruction=instruction,
        stamp_ns=stamp_ns,
    )


def _held(frame: Frame, channel: str, limits: FreshnessLimits) -> Sample:
    sample = frame.held.get(channel)
    if sample is None:
        raise ObservationError(
            f'Nothing has arrived on {channel!r} yet; start the node that publishes it.'
        )
    lag_ms = (frame.image.stamp_ns - sample.stamp_ns) / _NS_PER_MS
    _check_age(f'{channel!r} at the image', lag_ms, limits.sample_ms)
    return sample


def _opening(channel: str, sample: Sample) -> float:
    opening = float(sample.value)
    if not -_OPENING_SLACK <= opening <= 1.0 + _OPENING_SLACK:  # also false for NaN
        raise ObservationError(
            f'{channel!r} says {opening:g}; an opening is 0 (closed) to 1 (open). '
            'Scale it before this topic.'
        )
    return opening


def _check_age(what: str, age_ms: float, limit_ms: float) -> None:
    if age_ms > limit_ms:
        raise StaleObservation(
            f'{what} is {age_ms:.0f} ms old, the limit is {limit_ms:.0f} ms; check that its '
            'publisher runs and that the clocks of both machines agree.'
        )
