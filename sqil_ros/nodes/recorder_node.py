# SPDX-License-Identifier: Apache-2.0
"""``/recorder``: an MCAP bag that rosbag2 can read, also where rosbag2 is not installed."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from sqil_ros.bag import BagWriter, offered_qos, typestore_with
from sqil_ros.contract import DEFAULT_PATH, Contract
from sqil_ros.errors import ParameterError
from sqil_ros.nodes.run import give_up, run
from sqil_ros.share import share_directory

_QUEUE_DEPTH = 50
_LOOK_S = 0.2
_DEFAULT_TOPICS = (
    'image_raw',
    'wrist/image_raw',
    'instruction',
    'episode/event',
    'joint_states',
    'robot/tcp_pose',
    'robot/target_pose',
    'robot/gripper',
    'robot/target_gripper',
    'robot/twist',
    'robot/wrench',
    'robot/safety',
    'vla_policy/action',
    'vla_policy/status',
    'vla_policy/latency',
    '/diagnostics',
)


class RecorderNode(Node):
    """Subscribes to each wanted topic as soon as somebody publishes it."""

    def __init__(self) -> None:
        """Open the bag and begin to look for topics.

        Raises:
            ParameterError: there is no path, or it exists.
            ContractMismatch: the contract is missing or malformed.
        """
        super().__init__('recorder')
        path = self._declare('path', '', 'Directory of the new bag; must not exist.')
        topics = self._declare(
            'topics', list(_DEFAULT_TOPICS), 'What to record; relative names are resolved.'
        )
        contract_path = self._declare('contract', '', "Path of a contract.yaml, or '' for ours.")
        queue_size = self._declare(
            'queue_size',
            1000,
            'Messages that may wait for the disk before some are dropped.',
            integer_range=[IntegerRange(from_value=1, to_value=100000, step=1)],
        )
        if not path:
            raise ParameterError("Parameter path is ''; set it to the directory of the new bag.")
        source = Path(contract_path).expanduser() if contract_path else DEFAULT_PATH
        self._bag = BagWriter(
            Path(path).expanduser(),
            Contract.load(source),
            source.read_text(encoding='utf-8'),
            typestore_with('sqil_ros', share_directory() / 'msg'),
            on_failure=lambda error: give_up(self, f'The bag cannot be written: {error}'),
            queue_size=queue_size,
        )
        self._wanted = {self.resolve_topic_name(topic) for topic in topics}
        self.create_timer(_LOOK_S, self._look_for_topics)
        self.get_logger().info(f'Recording {len(self._wanted)} topics to {path}')

    def close(self) -> None:
        """Finish the bag."""
        counts = self._bag.close()
        total = sum(counts.values())
        missing = f'; nobody published {sorted(self._wanted)}' if self._wanted else ''
        self.get_logger().info(f'Recorded {total} messages, dropped {self._bag.dropped}{missing}')

    def _declare(self, name: str, default: Any, description: str, **ranges: Any) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=True, **ranges)
        return self.declare_parameter(name, default, descriptor).value

    def _look_for_topics(self) -> None:
        for topic in sorted(self._wanted):
            publishers = self.get_publishers_info_by_topic(topic)
            if publishers:
                self._wanted.discard(topic)
                self._record(topic, publishers)

    def _record(self, topic: str, publishers: list[TopicEndpointInfo]) -> None:
        kind = publishers[0].topic_type
        profiles = [publisher.qos_profile for publisher in publishers]
        # The strongest subscription that every publisher satisfies.
        reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in profiles)
        latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in profiles)
        try:
            message_class = _message_class(kind)
            self._bag.add_topic(topic, kind, [offered_qos(reliable, latched)])
        except (ImportError, AttributeError, ParameterError) as error:
            self.get_logger().error(f'{topic} of type {kind} is not recorded: {error}')
            return
        qos = QoSProfile(
            depth=_QUEUE_DEPTH,
            reliability=(
                ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
            ),
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            ),
        )
        self.create_subscription(
            message_class, topic, partial(self._on_message, topic), qos, raw=True
        )

    def _on_message(self, topic: str, message: bytes) -> None:
        if not self._bag.write(topic, self.get_clock().now().nanoseconds, message):
            self.get_logger().warning(
                f'The disk is behind: {self._bag.dropped} messages dropped so far',
                throttle_duration_sec=5.0,
            )


def _message_class(kind: str) -> Any:
    package, _, name = kind.partition('/msg/')
    return getattr(importlib.import_module(f'{package}.msg'), name)


def main() -> int:
    """Run the node."""
    return run(RecorderNode)


if __name__ == '__main__':
    sys.exit(main())
