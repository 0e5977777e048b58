# SPDX-License-Identifier: Apache-2.0
"""Real processes on a ROS domain of their own, and one node to talk to them."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

from sqil_ros.contract import Contract

CONTRACT = Contract.load()
_DOMAINS = itertools.count(os.getpid())


def pytest_collection_modifyitems(items):
    for item in items:
        if 'test/ros' in item.path.as_posix():
            item.add_marker(pytest.mark.ros)


class Graph:
    """The processes of one test and a node in this process that sees their topics."""

    def __init__(self, tmp_path, domain):
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.tmp_path = tmp_path
        self.env = os.environ | {
            'ROS_DOMAIN_ID': str(domain),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'ROS_LOG_DIR': str(tmp_path / 'log'),
            'PYTHONUNBUFFERED': '1',
        }
        self.processes = []
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node('tester', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def start(self, module, *ros_args, **parameters):
        """Start ``python -m module`` with parameters; its output goes to ``process.log``."""
        command = [sys.executable, '-m', module, '--ros-args', *ros_args]
        for name, value in parameters.items():
            command += ['-p', f'{name.replace("__", ".")}:={value}']
        return self.start_command(command)

    def start_command(self, command):
        path = self.tmp_path / f'process{len(self.processes)}.log'
        with path.open('wb') as file:
            process = subprocess.Popen(
                command, env=self.env, stdout=file, stderr=subprocess.STDOUT
            )
        process.log = path
        self.processes.append(process)
        return process

    def spin_until(self, condition, timeout_s=30.0):
        """Handle messages until ``condition()`` is true; fail the test otherwise."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                logs = ''.join(
                    f'--- {process.args}\n{process.log.read_text()}' for process in self.processes
                )
                pytest.fail(f'not within {timeout_s} s\n{logs}')
            self.executor.spin_once(timeout_sec=0.05)

    def spin_for(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def collect(self, kind, topic, qos):
        """A list that fills with the messages on ``topic``."""
        received = []
        self.node.create_subscription(kind, topic, received.append, qos)
        return received

    def call(self, kind, service, request, timeout_s=30.0):
        """Call a service and return its response."""
        client = self.node.create_client(kind, service)
        self.spin_until(client.service_is_ready, timeout_s)
        future = client.call_async(request)
        self.spin_until(future.done, timeout_s)
        return future.result()

    def close(self):
        import rclpy

        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.processes:
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


class Feed:
    """Publishes cameras and a robot that stands still, all with the same stamp."""

    def __init__(self, graph, width=128, encoding='rgb8'):
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import Image
        from sqil_ros.msg import EndEffectorAction, EpisodeEvent, LatencyBreakdown, PolicyStatus
        from std_msgs.msg import Float64, String

        from sqil_ros.nodes.action_qos import ACTION
        from sqil_ros.nodes.qos import COMMAND, LATCHED, SENSOR, STATE

        self.graph, self.width, self.encoding = graph, width, encoding
        node = graph.node
        self.Image, self.PoseStamped, self.Float64 = Image, PoseStamped, Float64
        self.EpisodeEvent = EpisodeEvent
        self.images = [
            node.create_publisher(Image, camera.topic, SENSOR)
            for camera in reversed(CONTRACT.cameras)
        ]
        self.poses = [
            node.create_publisher(PoseStamped, topic, STATE)
            for topic in ('robot/tcp_pose', 'robot/target_pose')
        ]
        self.gripper = node.create_publisher(Float64, 'robot/gripper', STATE)
        self.instruction = node.create_publisher(String, 'instruction', LATCHED)
        self.instruction.publish(String(data='lift the eggplant'))
        self.events = node.create_publisher(EpisodeEvent, 'episode/event', COMMAND)
        self.actions = graph.collect(EndEffectorAction, 'vla_policy/action', ACTION)
        self.statuses = graph.collect(PolicyStatus, 'vla_policy/status', LATCHED)
        self.latencies = graph.collect(LatencyBreakdown, 'vla_policy/latency', COMMAND)
        self.timers = [
            node.create_timer(1 / 15, self.publish_images),
            node.create_timer(0.02, self.publish_robot),
        ]

    def publish_images(self):
        pixels = np.full((128, self.width, 3), 255, np.uint8)
        message = self.Image(
            height=128,
            width=self.width,
            step=3 * self.width,
            encoding=self.encoding,
            data=pixels.tobytes(),
        )
        message.header.stamp = self.graph.node.get_clock().now().to_msg()
        for publisher in self.images:
            publisher.publish(message)

    def publish_robot(self):
        message = self.PoseStamped()
        message.header.stamp = self.graph.node.get_clock().now().to_msg()
        message.header.frame_id = CONTRACT.frame
        message.pose.position.x = 0.45
        x, y, z, w = CONTRACT.tool_down
        message.pose.orientation.x, message.pose.orientation.y = x, y
        message.pose.orientation.z, message.pose.orientation.w = z, w
        for publisher in self.poses:
            publisher.publish(message)
        self.gripper.publish(self.Float64(data=1.0))

    def status(self):
        return self.statuses[-1]

    def wait_for_state(self, state):
        self.graph.spin_until(lambda: self.statuses and self.status().state == state)


@pytest.fixture
def graph(tmp_path, monkeypatch):
    pytest.importorskip('rclpy')
    pytest.importorskip('sqil_ros.msg')
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    world = Graph(tmp_path, 1 + next(_DOMAINS) % 100)
    yield world
    world.close()


@pytest.fixture
def make_feed(graph):
    """Cameras and a robot that stands still; arguments as of :class:`Feed`."""
    return partial(Feed, graph)


@pytest.fixture
def feed(make_feed):
    return make_feed()
