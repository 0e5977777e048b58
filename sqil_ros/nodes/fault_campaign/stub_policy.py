# SPDX-License-Identifier: Apache-2.0
"""A policy without a network: sweeps the arm from side to side, and misbehaves on request.

The topic ``campaign/behaviour`` (std_msgs/String, latched) takes one of ``BEHAVIOURS``.
"""

from __future__ import annotations

import math
import sys

from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import String

from sqil_ros.msg import EndEffectorAction
from sqil_ros.nodes.action_qos import ACTION
from sqil_ros.nodes.qos import LATCHED
from sqil_ros.nodes.run import run

BEHAVIOURS = ('sweep', 'nan', 'stale', 'jump', 'outward')
BEHAVIOUR_TOPIC = 'campaign/behaviour'
_PERIOD_S = 0.2
_STEP_M = 0.04
_TICKS_A_WAY = 8
_IMAGE_AGE_S = 0.06


class StubPolicy(Node):
    """Publishes actions at 5 Hz as the policy node does."""

    def __init__(self) -> None:
        """Begin in the middle of a sweep."""
        super().__init__('vla_policy')
        self._behaviour = BEHAVIOURS[0]
        self._sequence = 0
        self._action = self.create_publisher(EndEffectorAction, '~/action', ACTION)
        self.create_subscription(String, BEHAVIOUR_TOPIC, self._on_behaviour, LATCHED)
        self.create_timer(_PERIOD_S, self._act)

    def _on_behaviour(self, message: String) -> None:
        self._behaviour = message.data

    def _act(self) -> None:
        way = (self._sequence + _TICKS_A_WAY // 2) // _TICKS_A_WAY
        delta = [0.0, _STEP_M if way % 2 else -_STEP_M, 0.0, 0.0, 0.0, 0.0]
        age_s = _IMAGE_AGE_S
        if self._behaviour == 'nan':
            delta[0] = math.nan
        elif self._behaviour == 'stale':
            age_s = 2.0
        elif self._behaviour == 'jump':
            delta[0] = 0.5
        elif self._behaviour == 'outward':
            delta = [_STEP_M, 0.0, 0.0, 0.0, 0.0, 0.0]
        now = self.get_clock().now()
        message = EndEffectorAction(
            sequence=self._sequence,
            delta=delta,
            gripper=1.0,
            profile='stub',
            latency_ms=1e3 * age_s,
            observation_stamp=(now - Duration(seconds=age_s)).to_msg(),
        )
        message.header.stamp, message.header.frame_id = now.to_msg(), 'base_link'
        self._action.publish(message)
        self._sequence += 1


if __name__ == '__main__':
    sys.exit(run(StubPolicy))
