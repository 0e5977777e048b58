# SPDX-License-Identifier: Apache-2.0
import signal
import sys

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from sqil_ros.bag import contract_of, typestore_with
from sqil_ros.contract import DEFAULT_PATH, Contract

pytestmark = pytest.mark.ros

# A second process that publishes one image stream and one latched text.
PUBLISHER = """
import numpy as np, rclpy
from sensor_msgs.msg import Image
from std_msgs.msg import String
from sqil_ros.nodes.qos import LATCHED, SENSOR
rclpy.init()
node = rclpy.create_node('camera')
node.create_publisher(String, 'instruction', LATCHED).publish(String(data='lift'))
images = node.create_publisher(Image, 'image_raw', SENSOR)
def publish():
    pixels = np.full((128, 128, 3), publish.count % 256, np.uint8)
    image = Image(height=128, width=128, step=384, encoding='rgb8', data=pixels.tobytes())
    image.header.stamp.nanosec = publish.count
    images.publish(image)
    publish.count += 1
publish.count = 0
node.create_timer(0.05, publish)
rclpy.spin(node)
"""


def test_records_topics_of_two_processes_and_closes_on_sigint(graph, tmp_path):
    from sqil_ros.msg import EpisodeEvent
    from std_msgs.msg import Header

    from sqil_ros.nodes.qos import COMMAND

    path = tmp_path / 'bag'
    graph.start_command([sys.executable, '-c', PUBLISHER])
    recorder = graph.start(
        'sqil_ros.nodes.recorder_node',
        path=str(path),
        topics='[image_raw, instruction, episode/event, nobody]',
    )
    events = graph.node.create_publisher(EpisodeEvent, 'episode/event', COMMAND)
    graph.spin_until(lambda: events.get_subscription_count() == 1)
    events.publish(EpisodeEvent(header=Header(), kind=EpisodeEvent.SUCCESS, task='lift', seed=3))
    graph.spin_for(3.0)
    recorder.send_signal(signal.SIGINT)
    assert recorder.wait(20.0) == 0, recorder.log.read_text()
    assert '/nobody' in recorder.log.read_text()

    store = typestore_with('sqil_ros', DEFAULT_PATH.parent.parent / 'msg')
    with Reader(path) as reader:
        rows = {connection.topic: [] for connection in reader.connections}
        for connection, _, raw in reader.messages():
            rows[connection.topic].append(store.deserialize_cdr(raw, connection.msgtype))
    assert contract_of(path)[0] == Contract.load().hash
    assert [message.data for message in rows['/instruction']] == ['lift']
    assert (rows['/episode/event'][0].kind, rows['/episode/event'][0].seed) == (1, 3)
    numbers = [image.header.stamp.nanosec for image in rows['/image_raw']]
    assert len(numbers) >= 30
    assert np.all(np.diff(numbers) > 0)
    assert np.mean(np.diff(numbers) == 1) > 0.95
    first = rows['/image_raw'][0]
    assert np.all(np.asarray(first.data) == first.header.stamp.nanosec % 256)


def test_existing_directory_is_refused_by_name(graph, tmp_path):
    path = tmp_path / 'bag'
    path.mkdir()
    recorder = graph.start('sqil_ros.nodes.recorder_node', path=str(path))
    assert recorder.wait(30.0) == 1
    text = recorder.log.read_text()
    assert f'The bag {path} exists' in text
    assert 'Traceback' not in text


@pytest.mark.parametrize('parameters', [{}, {'path': 'never_created', 'queue_size': 0}])
def test_bad_parameters_are_refused_in_one_line(graph, parameters):
    recorder = graph.start('sqil_ros.nodes.recorder_node', **parameters)
    assert recorder.wait(30.0) == 1
    text = recorder.log.read_text()
    assert 'path' in text or 'queue_size' in text
    assert 'Traceback' not in text
