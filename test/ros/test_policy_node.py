# SPDX-License-Identifier: Apache-2.0
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from sqil_ros.contract import Contract

pytestmark = pytest.mark.ros
CONTRACT = Contract.load()
NODE = 'sqil_ros.nodes.policy_node'


def set_profile(graph, value):
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
    from rcl_interfaces.srv import SetParameters

    kind = ParameterType.PARAMETER_STRING
    parameter = Parameter(
        name='quantization.profile', value=ParameterValue(type=kind, string_value=value)
    )
    request = SetParameters.Request(parameters=[parameter])
    return graph.call(SetParameters, 'vla_policy/set_parameters', request).results[0]


def transition(graph, name):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    request = ChangeState.Request(transition=Transition(label=name))
    return graph.call(ChangeState, 'vla_policy/change_state', request).success


def started(graph, **parameters):
    return graph.start(
        NODE, **({'checkpoint': 'builtin:image_mean', 'autostart': 'true'} | parameters)
    )


def seconds(stamp):
    return stamp.sec + stamp.nanosec / 1e9


def test_lifecycle_decides_when_it_acts(graph, feed):
    process = started(graph, autostart='false')
    feed.wait_for_state('unconfigured')
    assert transition(graph, 'configure')
    feed.wait_for_state('inactive')
    assert feed.status().self_test_ms > 0.0
    graph.spin_for(1.0)
    assert not feed.actions
    assert transition(graph, 'activate')
    graph.spin_until(lambda: len(feed.actions) >= 3)
    assert [action.sequence for action in feed.actions[:3]] == [0, 1, 2]
    assert transition(graph, 'deactivate')
    graph.spin_for(0.5)
    feed.actions.clear()
    graph.spin_for(1.0)
    assert not feed.actions
    assert transition(graph, 'cleanup')
    feed.wait_for_state('unconfigured')
    assert feed.status().profile == ''
    assert transition(graph, 'configure')
    process.send_signal(signal.SIGINT)
    assert process.wait(20.0) == 0, process.log.read_text()
    assert 'Traceback' not in process.log.read_text()


def test_one_action_per_tick_with_the_stamp_of_its_image(graph, feed):
    started(graph)
    graph.spin_until(lambda: len(feed.actions) >= 26, 60.0)
    actions = feed.actions[-25:]
    np.testing.assert_allclose([action.delta[0] for action in actions], 0.005)
    stamps = np.array([seconds(action.observation_stamp) for action in actions])
    assert np.median(np.diff(stamps)) == pytest.approx(0.2, abs=0.03)
    for action in actions:
        assert action.header.frame_id == 'base_link'
        assert seconds(action.header.stamp) >= seconds(action.observation_stamp)
        assert action.profile == 'fp'
    graph.spin_until(lambda: feed.latencies and feed.status().ticks >= 25)
    assert {'image_age', 'policy', 'image_to_command'} <= set(feed.latencies[-1].stages)
    assert feed.status().instruction == 'lift the eggplant'
    assert feed.status().message == ''


@pytest.mark.parametrize(
    ('camera', 'words'), [({'width': 64}, '64x128'), ({'encoding': 'bgr8'}, "'bgr8'")]
)
def test_another_image_is_refused_by_name_and_nothing_moves(graph, camera, words, make_feed):
    feed = make_feed(**camera)
    started(graph)
    graph.spin_until(lambda: feed.statuses and words in feed.status().message)
    graph.spin_for(1.0)
    assert not feed.actions
    assert words in feed.status().message


def test_lost_camera_and_lost_robot_stop_the_actions_by_name(graph, feed):
    started(graph)
    graph.spin_until(lambda: feed.actions and feed.status().message == '')
    feed.timers[1].cancel()
    graph.spin_until(lambda: 'robot/tcp_pose' in feed.status().message)
    feed.actions.clear()
    graph.spin_for(1.0)
    assert not feed.actions
    feed.timers[0].cancel()
    graph.spin_until(lambda: 'No image' in feed.status().message)
    for timer in feed.timers:
        timer.reset()
    graph.spin_until(lambda: feed.actions)
    graph.spin_until(lambda: feed.status().message == '')


def children(pid):
    stats = [path.read_text() for path in Path('/proc').glob('[0-9]*/stat')]
    return [int(s.split()[0]) for s in stats if int(s.rpartition(')')[2].split()[1]) == pid]


def test_a_killed_policy_process_ends_the_node_at_once(graph, feed):
    """Its end is what the robot node notices; nobody may go on as if there were a policy."""
    node = started(graph)
    graph.spin_until(lambda: len(feed.actions) >= 3)
    (parent,) = children(node.pid)
    (policy,) = children(parent)
    os.kill(policy, signal.SIGKILL)
    assert node.wait(2.0) == 1
    assert 'policy process (profile fp) ended' in node.log.read_text()


def test_profile_is_swapped_while_it_acts(graph, feed):
    started(graph)
    graph.spin_until(lambda: feed.actions)
    assert set_profile(graph, 'int4_rtn').successful
    graph.spin_until(lambda: feed.actions[-1].profile == 'int4_rtn')
    graph.spin_until(lambda: feed.status().profile == 'int4_rtn')
    profiles = [action.profile for action in feed.actions]
    assert profiles == sorted(profiles)  # fp ... fp int4_rtn ..., never back
    assert np.all(np.diff([action.sequence for action in feed.actions]) == 1)

    refused = set_profile(graph, 'int4')
    assert not refused.successful
    assert "'int4'" in refused.reason
    feed.actions.clear()
    graph.spin_until(lambda: len(feed.actions) >= 3)
    assert feed.actions[-1].profile == 'int4_rtn'


def test_policy_that_ignores_its_cameras_never_acts(graph):
    process = started(graph, checkpoint='builtin:circle')
    assert process.wait(60.0) == 1
    assert 'ignores its cameras' in process.log.read_text()


def test_episode_id_travels_with_its_actions(graph, feed):
    started(graph)
    graph.spin_until(lambda: feed.actions)
    assert feed.actions[-1].episode_id == ''
    feed.events.publish(feed.EpisodeEvent(kind=feed.EpisodeEvent.START, episode_id='e7'))
    graph.spin_until(lambda: feed.actions[-1].episode_id == 'e7')
    feed.events.publish(feed.EpisodeEvent(kind=feed.EpisodeEvent.SUCCESS, episode_id='e7'))
    graph.spin_until(lambda: feed.actions[-1].episode_id == '')


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'checkpoint': 'nowhere'}, 'No checkpoint directory at nowhere'),
        ({'checkpoint': "''"}, 'Parameter checkpoint'),
        ({'quantization__profile': 'nonsense'}, "'nonsense'"),
        ({'contract': 'nowhere.yaml'}, 'No contract at nowhere.yaml'),
        ({'threads': '0'}, 'threads'),
        ({'image_timeout_ms': '-5.0'}, 'image_timeout_ms'),
    ],
)
def test_bad_start_is_refused_by_name_and_the_process_ends(graph, parameters, words):
    process = started(graph, **parameters)
    assert process.wait(60.0) == 1
    assert words in process.log.read_text()
    assert 'Traceback' not in process.log.read_text()
