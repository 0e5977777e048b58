# SPDX-License-Identifier: Apache-2.0
"""``~/saliency`` beside a policy that acts."""

import signal

import numpy as np
import psutil
import pytest

from sqil_ros.policy.openvla.live_saliency import SIZE
from sqil_ros.share import share_directory

pytestmark = [pytest.mark.ros, pytest.mark.timeout(900)]
PATIENCE_S = 240.0  # the copy has what others leave of the processor
NODE = 'sqil_ros.nodes.policy_node'
TOY_SINK = share_directory() / 'models' / 'toy_sink_openvla'


def started(graph, **parameters):
    return graph.start(
        NODE,
        **{'autostart': 'true', 'checkpoint': TOY_SINK, 'saliency__period_s': 0.1} | parameters,
    )


def copies(node):
    """Processes in the background that the node's nursery has forked."""
    forked = psutil.Process(node.pid).children(recursive=True)
    return [process for process in forked if process.nice() == 10]


@pytest.fixture
def subscribe(graph):
    from sensor_msgs.msg import Image
    from std_msgs.msg import Float64

    from sqil_ros.nodes.qos import COMMAND

    return lambda: (
        graph.collect(Image, 'vla_policy/saliency', COMMAND),
        graph.collect(Float64, 'vla_policy/saliency_score', COMMAND),
    )


def test_who_subscribes_sees_what_the_policy_looks_at(graph, feed, subscribe):
    node = started(graph, quantization__profile='int4_rtn')
    graph.spin_until(lambda: len(feed.actions) >= 5, PATIENCE_S)
    assert not copies(node), 'nobody has asked yet'
    pictures, scores = subscribe()
    graph.spin_until(lambda: len(pictures) >= 2 and len(scores) >= 2, PATIENCE_S)
    (picture, *_) = pictures
    assert (picture.encoding, picture.height, picture.width) == ('rgb8', SIZE, 2 * SIZE)
    assert np.ptp(np.frombuffer(picture.data, np.uint8)) > 0
    assert scores[0].data > 0.0
    stamps = [action.observation_stamp for action in feed.actions]
    assert picture.header.stamp in stamps

    (copy,) = copies(node)
    copy.kill()
    graph.spin_until(lambda: 'No more ~/saliency' in node.log.read_text(), PATIENCE_S)
    feed.actions.clear()
    graph.spin_until(lambda: len(feed.actions) >= 10)
    assert np.all(np.diff([action.sequence for action in feed.actions]) == 1)
    assert node.log.read_text().count('No more ~/saliency') == 1
    assert not copies(node)


def test_the_copy_ends_with_the_node(graph, feed, subscribe):
    node = started(graph)
    pictures, _ = subscribe()
    graph.spin_until(lambda: pictures, PATIENCE_S)
    (copy,) = copies(node)
    node.send_signal(signal.SIGINT)
    assert node.wait(20.0) == 0, node.log.read_text()
    graph.spin_until(lambda: not copy.is_running(), 5.0)
    assert 'No more' not in node.log.read_text()


def test_a_policy_without_logits_acts_and_says_once_that_it_has_no_saliency(
    graph, feed, subscribe
):
    node = started(graph, checkpoint='builtin:image_mean')
    subscribe()
    graph.spin_until(lambda: 'answers without logits' in node.log.read_text(), PATIENCE_S)
    feed.actions.clear()
    graph.spin_until(lambda: len(feed.actions) >= 5)
    assert node.log.read_text().count('No more ~/saliency') == 1
