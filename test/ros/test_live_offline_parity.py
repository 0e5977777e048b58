# SPDX-License-Identifier: Apache-2.0
"""The same frames live and from the bag: one recording, two ways through the package."""

import signal

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from sqil_ros.align import Sample, TickClock, align
from sqil_ros.bag import typestore_with
from sqil_ros.contract import Contract
from sqil_ros.observation import (
    GRIPPER,
    TARGET_GRIPPER,
    TARGET_POSE,
    TCP_POSE,
    FreshnessLimits,
    build_observation,
)
from sqil_ros.policy.scripted import ImageMeanPolicy
from sqil_ros.preprocess import image_from_buffer
from sqil_ros.share import share_directory
from sqil_ros.types import Pose

pytestmark = pytest.mark.ros
CONTRACT = Contract.load()
FIRST, SECOND = (camera.topic for camera in CONTRACT.cameras)


def publish_scene(graph):
    """Two cameras whose colour tells the frame, and a robot; stamps as the devices give them."""
    from geometry_msgs.msg import PoseStamped
    from sensor_msgs.msg import Image
    from std_msgs.msg import Float64, String

    from sqil_ros.nodes.qos import LATCHED, SENSOR, STATE

    node = graph.node
    images = [node.create_publisher(Image, topic, SENSOR) for topic in (SECOND, FIRST)]
    poses = [node.create_publisher(PoseStamped, topic, STATE) for topic in (TCP_POSE, TARGET_POSE)]
    gripper = node.create_publisher(Float64, GRIPPER, STATE)
    instruction = node.create_publisher(String, 'instruction', LATCHED)
    instruction.publish(String(data='lift the eggplant'))
    frame = iter(range(1_000_000))

    def image_tick():
        pixels = np.full((128, 128, 3), next(frame) % 250, np.uint8)
        message = Image(height=128, width=128, step=384, encoding='rgb8', data=pixels.tobytes())
        message.header.stamp = node.get_clock().now().to_msg()
        for publisher in images:
            publisher.publish(message)

    def robot_tick():
        message = PoseStamped()
        message.header.stamp = node.get_clock().now().to_msg()
        message.header.frame_id = CONTRACT.frame
        message.pose.orientation.x, message.pose.orientation.y = CONTRACT.tool_down[:2]
        message.pose.orientation.w = 0.0
        for publisher in poses:
            publisher.publish(message)
        gripper.publish(Float64(data=1.0))

    node.create_timer(1 / 15, image_tick)
    node.create_timer(0.02, robot_tick)


def read(path):
    """Samples per topic, stamped by header, else by arrival."""
    store = typestore_with('sqil_ros', share_directory() / 'msg')
    samples = {}
    with Reader(path) as reader:
        for connection, time_ns, raw in reader.messages():
            message = store.deserialize_cdr(raw, connection.msgtype)
            header = getattr(message, 'header', None)
            if header is not None:
                time_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
            rows = samples.setdefault(connection.topic.lstrip('/'), [])
            rows.append(Sample(time_ns, message))
    return samples


def image(camera, sample):
    m = sample.value
    pixels = image_from_buffer(
        CONTRACT, camera, m.data, height=m.height, width=m.width, step=m.step, encoding=m.encoding
    )
    return Sample(sample.stamp_ns, pixels)


def pose(sample):
    p, q = sample.value.pose.position, sample.value.pose.orientation
    value = Pose(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))
    return Sample(sample.stamp_ns, value)


def test_the_policy_decides_the_same_live_and_from_the_bag(graph, tmp_path):
    from sqil_ros.msg import EndEffectorAction

    from sqil_ros.nodes.action_qos import ACTION

    path = tmp_path / 'bag'
    topics = [FIRST, SECOND, 'instruction', TCP_POSE, TARGET_POSE, GRIPPER, 'vla_policy/action']
    recorder = graph.start(
        'sqil_ros.nodes.recorder_node', path=str(path), topics=f'[{", ".join(topics)}]'
    )
    actions = graph.collect(EndEffectorAction, 'vla_policy/action', ACTION)
    publish_scene(graph)
    graph.start(
        'sqil_ros.nodes.policy_node',
        checkpoint='builtin:image_mean',
        autostart='true',
        patience_ms='500.0',
    )
    graph.spin_until(lambda: len(actions) >= 45)
    recorder.send_signal(signal.SIGINT)
    graph.spin_until(lambda: recorder.poll() is not None)

    bag = read(path)
    recorded = {
        m.value.observation_stamp.sec * 10**9 + m.value.observation_stamp.nanosec: m.value
        for m in bag['vla_policy/action']
    }
    # The recorder finds one topic after the other; what the policy did before it heard all of
    # them cannot be told from the bag.
    complete = max(bag[topic][0].stamp_ns for topic in topics if topic != 'vla_policy/action')
    recorded = {stamp: action for stamp, action in recorded.items() if stamp >= complete}
    assert len(recorded) >= 15
    first = min(recorded)
    images = [image('image', s) for s in bag[FIRST] if s.stamp_ns >= first]
    channels = {
        'wrist': [image('wrist', s) for s in bag[SECOND]],
        TCP_POSE: [pose(s) for s in bag[TCP_POSE]],
        TARGET_POSE: [pose(s) for s in bag[TARGET_POSE]],
        GRIPPER: [Sample(s.stamp_ns, s.value.data) for s in bag[GRIPPER]],
        TARGET_GRIPPER: [],
    }
    clock = TickClock.from_rates(CONTRACT.rate_hz, 15.0)
    frames = [f for f in align(images, channels, clock) if f.image.stamp_ns <= max(recorded)]
    assert [frame.image.stamp_ns for frame in frames] == sorted(recorded)
    policy = ImageMeanPolicy()
    for frame in frames:
        assert frame.held['wrist'].stamp_ns == frame.image.stamp_ns
        observation = build_observation(CONTRACT, frame, 'lift', FreshnessLimits())
        offline = policy.act(observation).actions[0]
        live = recorded[frame.image.stamp_ns]
        np.testing.assert_array_equal(np.append(live.delta, live.gripper), offline)
