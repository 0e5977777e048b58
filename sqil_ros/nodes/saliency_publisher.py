# SPDX-License-Identifier: Apache-2.0
"""``~/saliency`` and ``~/saliency_score``: what the policy looks at, for those who subscribe."""

from __future__ import annotations

from rclpy.node import Node
from sensor_msgs.msg import Image as ImageMessage
from std_msgs.msg import Float64

from sqil_ros.nodes import policy_messages as messages
from sqil_ros.nodes.qos import COMMAND
from sqil_ros.policy.wire import LiveSaliency
from sqil_ros.policy_loop import Step
from sqil_ros.policy_session import PolicySession
from sqil_ros.saliency_thread import SaliencyThread


class SaliencyPublisher:
    """Publishes for one node, beside its control path and never on it."""

    def __init__(self, node: Node) -> None:
        """Create the publishers; nothing is computed before :meth:`start`."""
        self._node = node
        # Reliable, for rqt and RViz ask for it and would otherwise show nothing.
        self._picture = node.create_publisher(ImageMessage, '~/saliency', COMMAND)
        self._score = node.create_publisher(Float64, '~/saliency_score', COMMAND)
        self._thread: SaliencyThread | None = None

    def start(self, session: PolicySession) -> None:
        """The policy begins to act; without a period nobody is ever asked."""
        params = session.params
        if params.saliency_period_s > 0.0:
            self._thread = SaliencyThread(
                session.open_copy,
                params.saliency_grid,
                params.saliency_period_s,
                self._wanted,
                self._publish,
                self._lost,
            )
            self._thread.start()

    def offer(self, step: Step) -> None:
        """The policy has acted; returns at once."""
        thread = self._thread  # another thread may stop it meanwhile
        if thread is not None:
            thread.offer(step)

    def stop(self) -> None:
        """The policy acts no more."""
        if self._thread is not None:
            self._thread.stop()
        self._thread = None

    def _wanted(self) -> bool:
        publishers = (self._picture, self._score)
        return any(publisher.get_subscription_count() for publisher in publishers)

    def _publish(self, step: Step, saliency: LiveSaliency) -> None:
        self._picture.publish(messages.saliency_message(step, saliency))
        self._score.publish(Float64(data=saliency.score))

    def _lost(self, error: Exception) -> None:
        if self._node.context.ok():  # else everything is ending, and publishing fails for that
            self._node.get_logger().warning(
                f'No more ~/saliency; the policy goes on without it. {error}'
            )
