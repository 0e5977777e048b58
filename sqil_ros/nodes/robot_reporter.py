# SPDX-License-Identifier: Apache-2.0
"""What the robot node says about itself: latched safety state, log, diagnostics."""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from sqil_ros.msg import SafetyStatus
from sqil_ros.nodes import robot_messages as messages
from sqil_ros.nodes.qos import COMMAND, LATCHED
from sqil_ros.robot.protocol import Mode
from sqil_ros.robot.supervisor import Supervisor
from sqil_ros.safety import Check

_Shown = tuple[Mode, str, int, int, int, bool]


class RobotReporter:
    """Publishes for one node, at once where something changes and once a second."""

    def __init__(self, node: Node, host: str) -> None:
        """Create the publishers."""
        self._node = node
        self._host = host
        self._safety = node.create_publisher(SafetyStatus, 'robot/safety', LATCHED)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', COMMAND)
        self._shown: _Shown | None = None
        self._mode = Mode.DISARMED
        self._status = SafetyStatus()
        self._values: dict[str, object] = {}

    def update(
        self, mode: Mode, supervisor: Supervisor, counts: tuple[int, ...], dry_run: bool
    ) -> None:
        """Take in the present state; publish and log it where it differs from what was shown."""
        state = supervisor.state
        fault = '' if supervisor.fault is None else supervisor.fault.value
        self._status = messages.safety_status(
            mode, fault, supervisor.message, counts, state, dry_run
        )
        self._values = {
            'robot_ip': self._host,
            'worker_pid': supervisor.pid or '',
            'mode': mode.name.lower(),
            'fault': fault,
            'state_age_ms': ''
            if state is None
            else round(1e3 * (time.monotonic() - state.stamp_s), 1),
            'late_cycles': '' if state is None else state.late_cycles,
            **{f'check.{check.label}': counts[check] for check in Check if counts[check]},
        }
        modes = self._status.robot_mode, self._status.safety_mode, self._status.runtime_state
        shown = (mode, fault, *modes, dry_run)
        if shown == self._shown:
            return
        if self._shown is None or (mode, fault) != self._shown[:2]:
            self._log(mode, fault, supervisor.message)
        self._shown, self._mode = shown, mode
        self._publish_safety()

    def publish(self, late_actions: int) -> None:
        """Once a second: everything, changed or not."""
        self._publish_safety()
        self._diagnostics.publish(
            messages.diagnostics(
                self._node.get_fully_qualified_name(),
                self._mode,
                self._status.message,
                {**self._values, 'late_actions': late_actions},
                self._node.get_clock().now().to_msg(),
            )
        )

    def _publish_safety(self) -> None:
        self._status.header.stamp = self._node.get_clock().now().to_msg()
        self._safety.publish(self._status)

    def _log(self, mode: Mode, fault: str, message: str) -> None:
        logger = self._node.get_logger()
        if fault:
            logger.error(f'{fault}: {message}')
        else:
            logger.info(f'Robot at {self._host}: {mode.name.lower()}')
