# SPDX-License-Identifier: Apache-2.0
"""Who stands above the worker - node, policy, enabling switch - and when they were last heard."""

from __future__ import annotations

from sqil_ros.robot.driver import Sample
from sqil_ros.robot.protocol import Heartbeat
from sqil_ros.safety import CycleState
from sqil_ros.safety.controller import PROGRAM_PLAYING
from sqil_ros.types import Array, Pose


class Upstream:
    """Times are seconds of the monotonic clock.

    Attributes:
        command_s: when the last accepted action came; None before the first one.
    """

    def __init__(self, deadman: bool, now_s: float) -> None:
        """Everybody counts as heard at ``now_s``; ``deadman`` says whether a switch is in use."""
        self._deadman = deadman
        self.command_s: float | None = None
        self._commander_alive = False
        self._heartbeat_s = self._enabled_s = now_s

    def hear(self, heartbeat: Heartbeat, now_s: float) -> None:
        """Take a heartbeat of the node."""
        self._heartbeat_s = now_s
        self._commander_alive = heartbeat.commander_alive
        if heartbeat.enabled:
            self._enabled_s = now_s

    def cycle_state(
        self,
        sample: Sample,
        bias: Array,
        now_s: float,
        following: bool,
        playing: bool,
        at: Pose | None,
    ) -> CycleState:
        """A sample, and the ages of those above, as the checks want them.

        Args:
            sample: reading of the controller.
            bias: (6,) wrench of the free arm.
            now_s: this cycle's time.
            following: whether actions are awaited at all.
            playing: pretend that our program runs, where it need not.
            at: pretend that the arm is there (the setpoint of a dry run).
        """
        awaited = following and self.command_s is not None
        return CycleState(
            robot_mode=sample.robot_mode,
            safety_mode=sample.safety_mode,
            runtime_state=PROGRAM_PLAYING if playing else sample.runtime_state,
            controller_age_s=sample.age_s,
            connected=sample.connected,
            measured=sample.tcp if at is None else at,
            joints=sample.joints,
            wrench=sample.wrench - bias,
            command_age_s=now_s - (self.command_s or 0.0) if awaited else None,
            commander_alive=self._commander_alive,
            node_age_s=now_s - self._heartbeat_s,
            deadman_age_s=now_s - self._enabled_s if self._deadman else None,
        )
