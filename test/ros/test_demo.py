# SPDX-License-Identifier: Apache-2.0
"""The demo as a visitor runs it, with one episode: real processes, real protocols."""

import json
import os
import signal
import sys

import numpy as np
import psutil
import pytest

from sqil_ros.bag import typestore_with
from sqil_ros.bag_check import check_bag
from sqil_ros.contract import Contract
from sqil_ros.share import share_directory
from sqil_ros.sim.tasks import MAX_STEPS

pytestmark = [pytest.mark.ros, pytest.mark.sim, pytest.mark.slow]


def demo_command(*words, robot_ip):
    options = ['--tasks', 'cup_plate', '--episodes', '1', '--robot-ip', robot_ip]
    return [sys.executable, '-m', 'sqil_ros.demo', *options, *words]


def robot_address():
    """Loopback addresses are many; every test run has its own robot."""
    return f'127.77.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}'


def processes_of(robot_ip):
    found = []
    for process in psutil.process_iter(['cmdline']):
        words = process.info['cmdline'] or []
        if any(robot_ip in word for word in words):
            found.append(' '.join(words))
    return found


def messages_in(bag, *topics):
    from rosbags.rosbag2 import Reader

    store = typestore_with('sqil_ros', share_directory() / 'msg')
    found = {topic: [] for topic in topics}
    with Reader(bag) as reader:
        for connection, _, raw in reader.messages():
            if connection.topic in found:
                message = store.deserialize_cdr(raw, connection.msgtype)
                found[connection.topic].append(message)
    return found


@pytest.mark.timeout(400)
def test_one_episode_leaves_result_report_and_bag(graph, tmp_path):
    out, robot_ip = tmp_path / 'demo', robot_address()
    process = graph.start_command(demo_command('--out', str(out), robot_ip=robot_ip))
    graph.spin_until(lambda: process.poll() is not None, 300.0)
    printed = process.log.read_text()
    assert process.returncode == 0, printed + (out / 'log.txt').read_text()
    assert not processes_of(robot_ip)
    assert 'put the cup into the plate' in printed
    assert 'Traceback' not in (out / 'log.txt').read_text()

    result = json.loads((out / 'result.json').read_text())
    (episode,) = result['episodes']
    assert (episode['task'], episode['seed'], episode['fault']) == ('cup_plate', 10000, '')
    assert 0 < episode['steps'] <= MAX_STEPS + 2
    assert episode['success'] or episode['steps'] >= MAX_STEPS
    assert result['profile'] == 'int4_rtn'
    assert result['ticks'] >= episode['steps']
    assert result['missed_ticks'] < result['ticks']
    latency = result['latency_ms']
    assert 0.0 < latency['p50'] <= latency['p95'] <= latency['p99'] < 1000.0
    assert result['provenance']['command'].startswith('python')
    assert (out / 'report.html').read_text().count('data:image/jpeg') == 2

    bag = out / 'bag'
    assert check_bag(bag, Contract.load()).instructions == ('put the cup into the plate',)
    found = messages_in(
        bag, '/vla_policy/action', '/vla_policy/status', '/robot/tcp_pose', '/episode/event'
    )
    assert [event.kind for event in found['/episode/event']] == [0, 1 if episode['success'] else 2]
    ours = [a for a in found['/vla_policy/action'] if a.episode_id == 'cup_plate-10000']
    assert len(ours) >= episode['steps'] - 1
    assert {status.state for status in found['/vla_policy/status']} >= {'active'}
    places = np.array(
        [
            [getattr(pose.pose.position, axis) for axis in 'xyz']
            for pose in found['/robot/tcp_pose']
        ]
    )
    assert np.ptp(places, axis=0).max() > 0.01  # the arm moved


@pytest.mark.timeout(300)
def test_ctrl_c_leaves_no_process_behind(graph, tmp_path):
    robot_ip = robot_address()
    process = graph.start_command(
        demo_command('--no-record', '--out', str(tmp_path / 'demo'), robot_ip=robot_ip)
    )
    graph.spin_until(lambda: 'self-test passed' in process.log.read_text(), 150.0)
    assert processes_of(robot_ip)
    process.send_signal(signal.SIGINT)
    assert process.wait(60.0) == 130, process.log.read_text()
    assert 'Stopped' in process.log.read_text()
    assert not processes_of(robot_ip)
    assert not (tmp_path / 'demo' / 'bag').exists()


def test_what_cannot_work_is_refused_before_anything_starts(graph, tmp_path):
    for words, named in (
        (('--profile', 'int4'), "'int4'"),
        (('--checkpoint', 'nowhere'), 'No checkpoint directory at nowhere'),
        (('--episodes', '0'), '0 episodes'),
        (('--first-seed', '-3'), '-3'),
    ):
        process = graph.start_command(
            demo_command('--out', str(tmp_path / 'demo'), *words, robot_ip=robot_address())
        )
        assert process.wait(60.0) == 1
        assert named in process.log.read_text()
        assert 'Traceback' not in process.log.read_text()
    assert not (tmp_path / 'demo').exists()
