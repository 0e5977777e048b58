# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from sqil_ros.bag import BagWriter, offered_qos, typestore_with
from sqil_ros.bag_check import check_bag, main
from sqil_ros.contract import DEFAULT_PATH, Contract
from sqil_ros.errors import ContractMismatch, EpisodeError, ObservationError
from sqil_ros.share import share_directory

CONTRACT = Contract.load()
STORE = typestore_with('sqil_ros', share_directory() / 'msg')
STRING, POSE, OPENING, IMAGE = (
    'std_msgs/msg/String',
    'geometry_msgs/msg/PoseStamped',
    'std_msgs/msg/Float64',
    'sensor_msgs/msg/Image',
)


def header():
    time = STORE.types['builtin_interfaces/msg/Time'](1, 0)
    return STORE.types['std_msgs/msg/Header'](time, 'base_link')


def image(width=CONTRACT.image_width):
    pixels = np.zeros(CONTRACT.image_height * width * 3, np.uint8)
    return STORE.types[IMAGE](header(), CONTRACT.image_height, width, 'rgb8', 0, width * 3, pixels)


def pose():
    geometry = {name: STORE.types[f'geometry_msgs/msg/{name}'] for name in ('Point', 'Quaternion')}
    place = STORE.types['geometry_msgs/msg/Pose'](
        geometry['Point'](0.0, 0.0, 0.0), geometry['Quaternion'](0.0, 0.0, 0.0, 1.0)
    )
    return STORE.types[POSE](header(), place)


def recording(path, namespace='', instructions=('lift the eggplant',), without=(), width=128):
    """A bag of two seconds with everything a converter needs, except ``without``."""
    topics = {
        'image_raw': (IMAGE, [image(width)] * 2),
        'wrist/image_raw': (IMAGE, [image()] * 2),
        'instruction': (STRING, [STORE.types[STRING](text) for text in instructions]),
        'robot/tcp_pose': (POSE, [pose()] * 2),
        'robot/target_pose': (POSE, [pose()] * 2),
        'robot/gripper': (OPENING, [STORE.types[OPENING](1.0)] * 2),
    }
    bag = BagWriter(path, CONTRACT, DEFAULT_PATH.read_text(), STORE, pytest.fail)
    for topic, (kind, messages) in topics.items():
        if topic in without:
            continue
        bag.add_topic(f'{namespace}/{topic}', kind, [offered_qos(True, False)])
        for second, message in enumerate(messages):
            raw = bytes(STORE.serialize_cdr(message, kind))
            assert bag.write(f'{namespace}/{topic}', second * 10**9, raw)
    bag.close()
    return path


def test_a_whole_recording_is_summed_up(tmp_path, capsys):
    bag = recording(tmp_path / 'bag', '/left', ['', 'lift the eggplant', 'lift the eggplant'])
    summary = check_bag(bag, CONTRACT, '/left')
    assert summary.instructions == ('lift the eggplant',)
    assert summary.counts['/left/image_raw'] == 2
    assert summary.seconds == pytest.approx(2.0)
    assert main([str(bag), '--namespace', '/left/']) == 0
    assert 'lift the eggplant' in capsys.readouterr().out


@pytest.mark.parametrize('bad', [{'without': ['instruction']}, {'instructions': ['', ' ']}])
def test_a_recording_without_an_instruction_is_refused_with_the_mend(tmp_path, capsys, bad):
    bag = recording(tmp_path / 'bag', **bad)
    with pytest.raises(EpisodeError, match=r'instruction.*Publish one text'):
        check_bag(bag, CONTRACT)
    assert main([str(bag)]) == 1
    assert 'cannot be mended' in capsys.readouterr().err


@pytest.mark.parametrize('topic', ['wrist/image_raw', 'robot/target_pose', 'robot/gripper'])
def test_a_recording_without_a_needed_topic_names_it(tmp_path, topic):
    bag = recording(tmp_path / 'bag', without=[topic])
    with pytest.raises(EpisodeError, match=f'no message on /{topic}'):
        check_bag(bag, CONTRACT)


def test_another_robots_or_another_cameras_recording_is_refused(tmp_path):
    bag = recording(tmp_path / 'wide', width=160)
    with pytest.raises(ObservationError, match='160x128'):
        check_bag(bag, CONTRACT)
    with pytest.raises(ContractMismatch, match='was made under'):
        check_bag(bag, dataclasses.replace(CONTRACT, rate_hz=10.0))


def test_a_recording_whose_data_is_gone_is_refused(tmp_path):
    bag = recording(tmp_path / 'bag')
    for data in bag.glob('*.mcap'):
        data.unlink()
    with pytest.raises(EpisodeError, match='cannot be read'):
        check_bag(bag, CONTRACT)


def test_a_truncated_recording_is_refused(tmp_path):
    bag = recording(tmp_path / 'bag')
    (data,) = bag.glob('*.mcap')
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(EpisodeError, match='cannot be read'):
        check_bag(bag, CONTRACT)
