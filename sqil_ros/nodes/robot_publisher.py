# SPDX-License-Identifier: Apache-2.0
"""Publishes the robot's state on its topics."""

from __future__ import annotations

import math
import time

from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64

from sqil_ros.nodes import robot_messages as messages
from sqil_ros.nodes.qos import COMMAND
from sqil_ros.robot.protocol import RobotState, Vector

_UNCHANGED_S = 0.1


class RobotPublisher:
    """Messages of a sample; the worker's clock becomes the ROS clock."""

    def __init__(self, node: Node, frame: str) -> None:
        """Create the publishers; poses are expressed in ``frame``."""
        self._node = node
        self._frame = frame
        self._published_s = 0.0
        # Reliable, because controllers and tools that ask for less are served as well.
        self._joints = node.create_publisher(JointState, 'joint_states', COMMAND)
        self._tcp = node.create_publisher(PoseStamped, 'robot/tcp_pose', COMMAND)
        self._target = node.create_publisher(PoseStamped, 'robot/target_pose', COMMAND)
        self._twist = node.create_publisher(TwistStamped, 'robot/twist', COMMAND)
        self._wrench = node.create_publisher(WrenchStamped, 'robot/wrench', COMMAND)
        self._gripper = _Opening(node, 'robot/gripper')
        self._target_gripper = _Opening(node, 'robot/target_gripper')

    def is_new(self, state: RobotState) -> bool:
        """Whether ``state`` has not been published yet."""
        return state.stamp_s != self._published_s

    def publish(self, state: RobotState, target: Vector, target_gripper: float) -> None:
        """Publish a sample with the newest accepted target."""
        self._published_s = state.stamp_s
        age = Duration(nanoseconds=round((time.monotonic() - state.stamp_s) * 1e9))
        stamp = (self._node.get_clock().now() - age).to_msg()
        frame = self._frame
        self._joints.publish(messages.joint_state(state, stamp))
        self._tcp.publish(messages.pose_stamped(state.tcp, frame, stamp))
        self._target.publish(messages.pose_stamped(target, frame, stamp))
        self._twist.publish(messages.twist_stamped(state.twist, frame, stamp))
        self._wrench.publish(messages.wrench_stamped(state.wrench, frame, stamp))
        self._gripper.publish(state.gripper, state.stamp_s)
        self._target_gripper.publish(target_gripper, state.stamp_s)


class _Opening:
    """An opening rests most of the time: it is said when it changes, else ten times a second."""

    def __init__(self, node: Node, topic: str) -> None:
        self._publisher = node.create_publisher(Float64, topic, COMMAND)
        self._value = math.nan
        self._said_s = -math.inf

    def publish(self, value: float, now_s: float) -> None:
        if value != self._value or now_s - self._said_s >= _UNCHANGED_S:
            self._value, self._said_s = value, now_s
            self._publisher.publish(Float64(data=value))
