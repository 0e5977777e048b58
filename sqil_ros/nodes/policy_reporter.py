# SPDX-License-Identifier: Apache-2.0
"""What the policy node says about itself: latched status, latency, diagnostics."""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from sqil_ros.msg import LatencyBreakdown, PolicyStatus
from sqil_ros.nodes import policy_messages as messages
from sqil_ros.nodes.qos import COMMAND, LATCHED
from sqil_ros.policy_session import PolicySession
from sqil_ros.quant.swap import FAILED, SwapStatus

_WARNING_PERIOD_S = 2.0
_SILENCE_S = 1.0


class PolicyReporter:
    """Publishes for one node; its methods may be called from any thread."""

    def __init__(self, node: Node) -> None:
        """Create the publishers."""
        self._node = node
        self._status = node.create_publisher(PolicyStatus, '~/status', LATCHED)
        self._latency = node.create_publisher(LatencyBreakdown, '~/latency', COMMAND)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', COMMAND)
        self._session: PolicySession | None = None
        self._state = 'unconfigured'
        self._complaint = ''
        self._swap_failure = ''
        self._heard_s = 0.0

    @property
    def message(self) -> str:
        """What keeps the policy from acting as asked; empty when nothing does."""
        return self._complaint or self._swap_failure

    def enter(self, state: str, session: PolicySession | None) -> None:
        """The node has reached a lifecycle state."""
        self._state, self._session = state, session
        self._complaint = self._swap_failure = ''
        self._heard_s = time.monotonic()
        self.publish_status()

    def fail(self, reason: str) -> None:
        """A transition failed."""
        self._node.get_logger().error(reason)
        self._complaint = reason
        self.publish_status()

    def complain(self, reason: str) -> None:
        """There is no action for this tick: in the status at once, in the log now and then."""
        self._node.get_logger().warning(reason, throttle_duration_sec=_WARNING_PERIOD_S)
        self._heard_s = time.monotonic()
        changed = not self._complaint
        self._complaint = reason
        if changed:
            self.publish_status()

    def clear(self) -> None:
        """There was an action."""
        self._heard_s = time.monotonic()
        if self._complaint:
            self._complaint = ''
            self.publish_status()

    def swapped(self, status: SwapStatus) -> None:
        """A profile swap made progress."""
        if status.state == FAILED:
            self._swap_failure = status.message
            self._node.get_logger().error(status.message)
        elif status.message:
            self._swap_failure = ''
            self._node.get_logger().info(status.message)
        self.publish_status()

    def publish(self) -> None:
        """Everything, once a second."""
        silence_s = time.monotonic() - self._heard_s
        if self._state == 'active' and silence_s > _SILENCE_S:
            assert self._session is not None
            topic = self._session.contract.cameras[0].topic
            self._complaint = (
                f'No image on {topic!r} for {silence_s:.0f} s; start the camera or remap the '
                'topic.'
            )
        now_ns = self._now_ns()
        self.publish_status()
        summary = self._session.latency() if self._session is not None else None
        if summary:
            self._latency.publish(messages.latency_message(summary, now_ns))
        self._diagnostics.publish(
            messages.diagnostic_message(
                self._node.get_fully_qualified_name(),
                self._state,
                self.message,
                self._session,
                now_ns,
            )
        )

    def publish_status(self) -> None:
        """The latched status."""
        if self._node.context.ok():
            self._status.publish(
                messages.status_message(self._state, self.message, self._session, self._now_ns())
            )

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds
