# SPDX-License-Identifier: Apache-2.0
"""Whether what came over the wire is an action at all, fresh and in turn (checks 1-4, 7, 25)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sqil_ros.safety.checks import Check
from sqil_ros.safety.limits import SafetyLimits
from sqil_ros.safety.memory import FilterMemory
from sqil_ros.types import Action, Array, Pose

_QUATERNION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SafetyContext:
    """What is known when an action arrives. The defaults are those of a perfect wire.

    Attributes:
        now_s: seconds of any clock that does not jump.
        target: newest accepted commanded TCP pose in ``base_link``.
        measured: measured TCP pose in ``base_link``.
        joints: (6,) measured joint angles [rad].
        command_age_s: since the action was published; negative if its stamp is in the future.
        observation_age_s: since the image behind the action was taken.
        joint_state_age_s: since the robot's state was measured.
        sequence: number of the action, or None where the wire cannot lose or repeat one.
        frame: coordinate frame that the action claims.
        episode: episode that the action claims; ``expected_episode`` None accepts any.
        commanders: how many publishers could have sent the action.
    """

    now_s: float
    target: Pose
    measured: Pose
    joints: Array
    command_age_s: float = 0.0
    observation_age_s: float = 0.0
    joint_state_age_s: float = 0.0
    sequence: int | None = None
    frame: str = 'base_link'
    episode: str = ''
    expected_episode: str | None = None
    commanders: int = 1


def wire_refusal(
    action: Action, context: SafetyContext, memory: FilterMemory, limits: SafetyLimits
) -> tuple[Check, str] | None:
    """The first of the checks 1, 25, 4, 2, 3 and 7 that an action breaks beyond mending."""
    delta = action.delta
    if delta.shape != (6,) or not np.all(np.isfinite(delta)) or not np.isfinite(action.gripper):
        return Check.MALFORMED, (
            f'Action {np.array2string(delta, precision=3)}, gripper {action.gripper} must be six '
            'finite numbers and one; check the policy.'
        )
    norm = float(np.linalg.norm(context.target.quaternion))
    if not abs(norm - 1.0) <= _QUATERNION_TOLERANCE:
        return Check.MALFORMED, f'Target quaternion has norm {norm:g}, not 1; re-arm the robot.'
    if context.commanders != 1:
        return Check.COMMANDER, (
            f'{context.commanders} publishers on the action topic; stop all but one.'
        )
    if context.frame != limits.frame:
        return Check.SEQUENCE, f'Action in frame {context.frame!r}; publish in {limits.frame!r}.'
    if context.expected_episode is not None and context.episode != context.expected_episode:
        return Check.SEQUENCE, (
            f'Action of episode {context.episode!r}; the robot is in {context.expected_episode!r}.'
        )
    if (
        context.sequence is not None
        and memory.sequence is not None
        and context.sequence <= memory.sequence
    ):
        return Check.SEQUENCE, (
            f'Action {context.sequence} after {memory.sequence}; numbers must grow. Re-arm after '
            'restarting the policy.'
        )
    for check, age, limit, name in (
        (Check.COMMAND_AGE, context.command_age_s, limits.command_age_s, 'Action'),
        (Check.OBSERVATION_AGE, context.observation_age_s, limits.observation_age_s, 'Image'),
        (Check.OBSERVATION_AGE, context.joint_state_age_s, limits.joint_state_age_s, 'State'),
    ):
        if not -limits.future_s <= age <= limit:
            return check, (
                f'{name} is {age:.3f} s old, limit {limit:g} s (and {limits.future_s:g} s into '
                'the future); check clocks and load.'
            )
    for part, limit, unit in zip(
        (delta[:3], delta[3:]), limits.step_limits, ('m', 'rad'), strict=True
    ):
        length = math.hypot(*part)  # unlike a sum of squares, it does not overflow
        if length > limit * limits.reject_factor:
            return Check.STEP, (
                f'Step of {length:.3f} {unit}, beyond {limits.reject_factor:g} times the limit '
                f'{limit:g} {unit}: a jump; check the statistics of the policy.'
            )
    return None
