# SPDX-License-Identifier: Apache-2.0
"""From actions on the wire to targets for the worker: the filter's side of the robot node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sqil_ros.robot.protocol import (
    Latch,
    Mode,
    RobotState,
    Target,
    Vector,
    pose_from_vector7,
    pose_to_vector,
)
from sqil_ros.safety import (
    FilterMemory,
    FilterResult,
    SafetyContext,
    SafetyLimits,
    Verdict,
    filter_action,
)
from sqil_ros.types import Action, Pose

_FOLLOWING = frozenset({Mode.DRY_RUN, Mode.ARMED, Mode.HOLD})


@dataclass(frozen=True)
class ActionMessage:
    """An action with what came along on the wire. Times are seconds of the ROS clock."""

    action: Action
    sequence: int
    frame: str
    episode: str
    published_s: float
    observed_s: float


class Commander:
    """Keeps the newest target and what the filter remembers."""

    def __init__(self, limits: SafetyLimits, action_delay_s: float) -> None:
        """Targets take effect ``action_delay_s`` after the observation they were decided on."""
        self._limits = limits
        self._delay_s = action_delay_s
        self._memory = FilterMemory()
        self._epoch: int | None = None
        self._state: RobotState | None = None
        self.target: Pose | None = None
        self.gripper = 1.0
        self.late = 0
        self.last: FilterResult | None = None

    @property
    def counts(self) -> tuple[int, ...]:
        """How often each check acted, indexed by its number: filter and cycle together."""
        cycle = (0,) * len(self._memory.counts)
        if self._state is not None:
            cycle = self._state.check_counts
        return tuple(a + b for a, b in zip(self._memory.counts, cycle, strict=True))

    @property
    def target_vector(self) -> Vector | None:
        """Newest accepted target as seven numbers."""
        return None if self.target is None else pose_to_vector(self.target)

    def on_state(self, state: RobotState | None) -> None:
        """Take a sample, or None where there is no robot any more.

        A new epoch or a robot at rest voids the target.
        """
        if state is None:
            self._state = self._epoch = None
            return
        following = state.mode in _FOLLOWING
        if state.epoch != self._epoch or not following:
            self.target = pose_from_vector7(state.target)
            self.gripper = state.gripper_target
            self._memory = FilterMemory.fresh(state.gripper_target, self._memory.counts)
        self._epoch = state.epoch
        self._state = state

    def on_action(
        self, message: ActionMessage, ros_now_s: float, now_s: float, commanders: int
    ) -> Target | Latch | None:
        """Filter one action.

        Args:
            message: what arrived.
            ros_now_s: time of arrival on the ROS clock.
            now_s: the same moment on the monotonic clock.
            commanders: publishers on the action topic.

        Returns:
            What the worker is to be told, or None where the action was dropped or nobody follows.
        """
        state = self._state
        self.last = None
        if state is None or self.target is None or state.mode not in _FOLLOWING:
            return None
        result = filter_action(
            message.action,
            SafetyContext(
                now_s=now_s,
                target=self.target,
                measured=pose_from_vector7(state.tcp),
                joints=np.array(state.joints),
                command_age_s=ros_now_s - message.published_s,
                observation_age_s=ros_now_s - message.observed_s,
                joint_state_age_s=now_s - state.stamp_s,
                sequence=message.sequence,
                frame=message.frame,
                episode=message.episode,
                commanders=commanders,
            ),
            self._memory,
            self._limits,
        )
        self._memory = result.memory
        self.last = result
        if result.verdict is Verdict.STOP and result.fault is not None:
            return Latch(result.fault.value, result.message)
        if not result.accepted:
            return None
        self.target, self.gripper = result.target, result.gripper
        start_s = now_s - ros_now_s + message.observed_s + self._delay_s
        if start_s < now_s:
            self.late += 1
            start_s = now_s
        return Target(state.epoch, start_s, pose_to_vector(result.target), result.gripper)
