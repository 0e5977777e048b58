# SPDX-License-Identifier: Apache-2.0
"""The described graph as processes: by the supervisor, and by launch where that is installed."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.ros, pytest.mark.emulator, pytest.mark.sim]

HOST = f'127.0.{os.getpid() % 250 + 1}.9'
ARGUMENTS = (
    f'robot_ip:={HOST}',
    'checkpoint:=builtin:image_mean',
    'profile:=fp',
    'namespace:=left',
)
LAUNCH = """
import os, sys
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource

path = os.path.join(get_package_share_directory('sqil_ros'), 'launch', 'ur5_policy.launch.py')
arguments = [tuple(word.split(':=', 1)) for word in sys.argv[1:]]
service = LaunchService(argv=sys.argv[1:])
service.include_launch_description(LaunchDescription([
    IncludeLaunchDescription(AnyLaunchDescriptionSource(path), launch_arguments=arguments)]))
sys.exit(service.run())
"""


def starters() -> dict[str, list[str]]:
    return {
        'supervisor': [sys.executable, '-m', 'sqil_ros.supervisor'],
        'launch': [sys.executable, '-c', LAUNCH],
    }


@pytest.fixture(params=['supervisor', 'launch'])
def starter(request) -> list[str]:
    if request.param == 'launch' and importlib.util.find_spec('launch_ros') is None:
        pytest.skip('launch_ros is on no package registry; runs where ROS 2 is installed')
    return starters()[request.param]


def test_it_comes_up_configured_and_goes_down_whole(graph, starter, tmp_path: Path) -> None:
    from rcl_interfaces.srv import GetParameters
    from sqil_ros.msg import PolicyStatus, SafetyStatus

    from sqil_ros.nodes.qos import LATCHED

    bag = tmp_path / 'bag'
    started = graph.start_command([*starter, *ARGUMENTS, f'record:={bag}'])
    status = graph.collect(PolicyStatus, '/left/vla_policy/status', LATCHED)
    safety = graph.collect(SafetyStatus, '/left/robot/safety', LATCHED)
    graph.spin_until(lambda: status and status[-1].state == 'active', 90.0)
    graph.spin_until(lambda: bool(safety), 30.0)
    assert status[-1].profile == 'fp'
    assert safety[-1].mode == SafetyStatus.DISARMED, safety[-1].message

    # One value from the file, one from the arguments.
    names = ['camera_rate_hz', 'quantization.profile']
    answer = graph.call(
        GetParameters, '/left/vla_policy/get_parameters', GetParameters.Request(names=names)
    )
    assert [answer.values[0].double_value, answer.values[1].string_value] == [5.0, 'fp']

    family = psutil.Process(started.pid).children(recursive=True)
    assert len(family) >= 5
    started.send_signal(signal.SIGINT)
    assert started.wait(40.0) == 0, started.log.read_text()
    _, alive = psutil.wait_procs(family, timeout=10.0)
    assert not alive
    assert (bag / 'metadata.yaml').is_file()


def test_it_ends_when_one_of_its_nodes_is_killed(graph, starter) -> None:
    from sqil_ros.msg import PolicyStatus

    from sqil_ros.nodes.qos import LATCHED

    started = graph.start_command([*starter, *ARGUMENTS])
    status = graph.collect(PolicyStatus, '/left/vla_policy/status', LATCHED)
    graph.spin_until(lambda: status and status[-1].state == 'active', 90.0)
    family = psutil.Process(started.pid).children(recursive=True)
    node = next(child for child in family if 'policy_node' in ' '.join(child.cmdline()))
    node.kill()
    started.wait(60.0)
    assert 'vla_policy' in started.log.read_text()
    _, alive = psutil.wait_procs(family, timeout=10.0)
    assert not alive
