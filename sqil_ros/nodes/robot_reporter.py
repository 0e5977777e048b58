# SPDX-License-Identifier: Apache-2.0
"""What the robot node says about itself: latched safety state, log, diagnostics."""

from __future__ import annotations

import time
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from sqil_ros.msg import SafetyStatus
from sqil_ros.nodes import robot_messages as messages
from sqil_ros.nodes.qos import COMMAND, LATCHED
from sqil_ros.robot.commander import Commander
from sqil_ros.robot.protocol import Mode, RobotState
from sqil_ros.robot.supervisor import Supervisor
from sqil_ros.safety import Check


class RobotReporter:
    """Publishes for one node, at once where something changes and once a second."""

    def __init__(self, node: Node, host: str, commander: Commander) -> None:
        """Create the publishers; ``commander`` has the counters."""
        self._node = node
        self._host = host
        self._commander = commander
        self._safety = node.create_publisher(SafetyStatus, 'robot/safety', LATCHED)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', COMMAND)
        self._now: _Report | None = None

    def update(self, mode: Mode, supervisor: Supervisor, dry_run: bool) -> None:
        """Take in the present state; publish and log it where it differs from the last."""
        fault = '' if supervisor.fault is None else supervisor.fault.value
        before = self._now
        now = _Report(
            mode, fault, supervisor.message, dry_run, supervisor.state, supervisor.pid or 0
        )
        self._now = now
        if before is None or now.headline != before.headline:
            if before is None or (mode, fault) != (before.mode, before.fault):
                self._log(now)
            self._publish_safety(now)

    def publish(self) -> None:
        """Once a second: everything, changed or not."""
        now = self._now
        if now is None:
            return
        self._publish_safety(now)
        counts = self._commander.counts
        values: dict[str, object] = {
            'robot_ip': self._host,
            'worker_pid': now.worker_pid,
            'mode': now.mode.name.lower(),
            'fault': now.fault,
            'late_actions': self._commander.late,
            **{f'check.{check.label}': counts[check] for check in Check if counts[check]},
        }
        if now.state is not None:
            values['late_cycles'] = now.state.late_cycles
            values['state_age_ms'] = round(1e3 * (time.monotonic() - now.state.stamp_s), 1)
        self._diagnostics.publish(
            messages.diagnostics(
                self._node.get_fully_qualified_name(), now.mode, now.message, values, self._stamp()
            )
        )

    def _publish_safety(self, now: _Report) -> None:
        status = messages.safety_status(
            now.mode, now.fault, now.message, self._commander.counts, now.state, now.dry_run
        )
        status.header.stamp = self._stamp()
        self._safety.publish(status)

    def _log(self, now: _Report) -> None:
        logger = self._node.get_logger()
        if now.fault:
            logger.error(f'{now.fault}: {now.message}')
        else:
            logger.info(f'Robot at {self._host}: {now.mode.name.lower()}')

    def _stamp(self) -> Time:
        return self._node.get_clock().now().to_msg()


@dataclass(frozen=True)
class _Report:
    """What there is to say at one moment."""

    mode: Mode
    fault: str
    message: str
    dry_run: bool
    state: RobotState | None
    worker_pid: int

    @property
    def headline(self) -> tuple[object, ...]:
        """What is published at once when it changes."""
        state = self.state
        modes = state and (state.robot_mode, state.safety_mode, state.runtime_state)
        return self.mode, self.fault, self.dry_run, modes
