# SPDX-License-Identifier: Apache-2.0
"""The robot node in front of the emulator: what it publishes, serves and refuses."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('sqil_ros.msg')

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.duration import Duration
from sensor_msgs.msg import JointState
from sqil_ros.msg import EndEffectorAction, SafetyStatus
from std_msgs.msg import Float64
from std_srvs.srv import SetBool, Trigger

from sqil_ros.contract import Contract
from sqil_ros.geometry import base_link_from_base, pose_from_vector
from sqil_ros.kinematics import UR5E, forward
from sqil_ros.nodes.action_qos import ACTION
from sqil_ros.nodes.qos import COMMAND, LATCHED, STATE
from sqil_ros.safety import Check
from sqil_ros.sim.side_channel import SideChannel

pytestmark = pytest.mark.emulator
CONTRACT = Contract.load()
SPEED_LIMIT = 0.25


def free_host() -> str:
    pick = random.Random(os.urandom(8))
    return f'127.{pick.randint(16, 250)}.{pick.randint(0, 250)}.{pick.randint(2, 250)}'


class Robot:
    """An emulator with a robot node, and a policy in the test's own node."""

    def __init__(self, graph, **parameters):
        self.graph = graph
        self.host = free_host()
        emulator = graph.start_command(
            [sys.executable, '-m', 'sqil_ros.sim.ur_controller', '--host', self.host,
             '--lifetime', '150', '--watch-parent']
        )  # fmt: skip
        graph.spin_until(lambda: 'ready' in emulator.log.read_text())
        self.safety = graph.collect(SafetyStatus, 'robot/safety', LATCHED)
        self.target = graph.collect(PoseStamped, 'robot/target_pose', STATE)
        self.tcp = graph.collect(PoseStamped, 'robot/tcp_pose', STATE)
        self.action = graph.node.create_publisher(EndEffectorAction, 'vla_policy/action', ACTION)
        self.sequence = 0
        self.channel = SideChannel(self.host)
        defaults = {'robot_ip': self.host, 'use_sim': 'true', 'dry_run': 'false'}
        self.node = graph.start('sqil_ros.nodes.robot_node', **(defaults | parameters))
        graph.spin_until(lambda: self.safety and self.safety[-1].robot_mode == 7)

    @property
    def status(self):
        return self.safety[-1]

    def call(self, service, kind=Trigger, request=None):
        return self.graph.call(kind, f'ur5_robot/{service}', request or Trigger.Request())

    def act(self, *delta, gripper=1.0, publisher=None):
        now = self.graph.node.get_clock().now()
        message = EndEffectorAction(
            sequence=self.sequence,
            delta=list(delta),
            gripper=gripper,
            observation_stamp=(now - Duration(seconds=0.05)).to_msg(),
        )
        message.header.stamp, message.header.frame_id = now.to_msg(), 'base_link'
        (publisher or self.action).publish(message)
        self.sequence += 1

    def statistics(self):
        return self.channel.request('statistics')


@pytest.fixture
def robot(graph):
    return Robot(graph)


def position(message):
    p = message.pose.position
    return np.array([p.x, p.y, p.z])


def test_state_is_published_in_base_link(graph, robot):
    joints = graph.collect(JointState, 'joint_states', STATE)
    wrench = graph.collect(WrenchStamped, 'robot/wrench', STATE)
    twist = graph.collect(TwistStamped, 'robot/twist', STATE)
    openings = graph.collect(Float64, 'robot/gripper', STATE)
    diagnostics = graph.collect(DiagnosticArray, '/diagnostics', COMMAND)
    graph.spin_until(lambda: diagnostics and wrench and twist and openings and len(joints) > 60)
    home = base_link_from_base(forward(UR5E, np.array(CONTRACT.home), CONTRACT.tcp))
    assert np.allclose(position(robot.tcp[-1]), home.position, atol=1e-3)
    assert robot.tcp[-1].header.frame_id == wrench[-1].header.frame_id == 'base_link'
    assert joints[-1].name[2] == 'elbow_joint'
    assert np.allclose(joints[-1].position, CONTRACT.home, atol=1e-6)
    assert openings[-1].data == 1.0
    assert len(openings) < len(joints) / 3  # the gripper rests
    stamps = [m.header.stamp.sec + 1e-9 * m.header.stamp.nanosec for m in joints[-20:]]
    assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps)
    assert abs(stamps[-1] - time.time()) < 1.0
    assert robot.status.mode == SafetyStatus.DISARMED
    assert list(robot.status.check_names) == [check.label for check in Check]
    values = {pair.key: pair.value for pair in diagnostics[-1].status[0].values}
    assert values['robot_ip'] == robot.host and int(values['worker_pid']) > 0


def test_actions_move_an_armed_arm_within_its_limits_and_stop_disarms(graph, robot):
    robot.act(0.0, 0.02, 0.0, 0.0, 0.0, 0.0)
    graph.spin_for(0.5)
    assert robot.statistics()['commands'].get('servoL', 0) == 0
    assert robot.call('home').success
    assert robot.call('arm').success
    start = position(robot.tcp[-1])
    for _ in range(10):
        robot.act(0.0, 0.02, 0.0, 0.0, 0.0, 0.1, gripper=0.0)
        graph.spin_for(0.2)
    robot.act(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, gripper=0.0)
    graph.spin_for(0.25)
    assert robot.call('stop').success
    graph.spin_until(lambda: robot.status.mode == SafetyStatus.DISARMED)
    assert not robot.status.fault
    graph.spin_for(0.3)
    moved = position(robot.tcp[-1]) - start
    assert 0.15 < moved[1] < 0.21 and np.all(np.abs(moved[[0, 2]]) < 2e-3)
    statistics = robot.statistics()
    assert statistics['peak_tcp_speed'] <= 1.05 * SPEED_LIMIT
    assert statistics['gripper_opening'] < 0.1
    truth = base_link_from_base(pose_from_vector(np.array(statistics['tcp_pose'])))
    assert np.allclose(position(robot.tcp[-1]), truth.position, atol=1e-3)


def test_a_dry_run_publishes_targets_and_moves_nothing(graph):
    robot = Robot(graph, dry_run='true')
    assert 'nothing moves' in robot.call('home').message
    assert robot.call('arm').success
    graph.spin_until(lambda: robot.status.mode == SafetyStatus.DRY_RUN)
    assert robot.status.dry_run
    assert not robot.call('dry_run', SetBool, SetBool.Request(data=False)).success
    start = position(robot.target[-1])
    for _ in range(5):
        robot.act(0.0, 0.015, 0.0, 0.0, 0.0, 0.0)
        graph.spin_for(0.2)
    graph.spin_until(lambda: abs(position(robot.target[-1])[1] - start[1] - 0.075) < 1e-6)
    statistics = robot.statistics()
    assert statistics['uploads'] == 0 and statistics['peak_tcp_speed'] == 0.0
    assert robot.call('stop').success
    assert robot.call('dry_run', SetBool, SetBool.Request(data=False)).success
    assert robot.call('home').success


def test_homing_leaves_the_node_responsive_and_can_be_stopped(graph):
    robot = Robot(graph, **{'home__speed': '0.1'})
    assert robot.call('arm').success
    for _ in range(15):
        robot.act(0.0, 0.04, 0.0, 0.0, 0.0, 0.0)
        graph.spin_for(0.2)
    home = graph.node.create_client(Trigger, 'ur5_robot/home')
    graph.spin_until(home.service_is_ready)
    going = home.call_async(Trigger.Request())
    graph.spin_for(0.6)
    seen = len(robot.tcp)
    graph.spin_for(0.5)
    assert len(robot.tcp) - seen > 10, 'state must go on while the arm moves home'
    assert not going.done()
    assert robot.call('stop').success
    graph.spin_until(going.done)
    assert not going.result().success and 'stopped' in going.result().message
    graph.spin_for(0.3)
    assert robot.statistics()['joint_speeds'] == pytest.approx([0.0] * 6, abs=1e-3)
    assert robot.status.mode == SafetyStatus.DISARMED


def test_two_policies_are_one_too_many(graph, robot):
    assert robot.call('arm').success
    other = graph.node.create_publisher(EndEffectorAction, 'vla_policy/action', ACTION)
    graph.spin_for(1.0)
    for _ in range(4):
        for publisher in (robot.action, other):
            robot.act(0.0, 0.01, 0.0, 0.0, 0.0, 0.0, publisher=publisher)
            graph.spin_for(0.1)
    graph.spin_until(lambda: robot.status.fault == 'second_commander')
    assert robot.statistics()['joint_speeds'] == pytest.approx([0.0] * 6, abs=1e-3)


def test_arming_needs_a_workspace_on_a_real_robot(graph):
    robot = Robot(graph, use_sim='false')
    answer = robot.call('arm')
    assert not answer.success and 'workspace.low' in answer.message


def test_a_controller_in_local_control_is_refused_by_name(graph, robot):
    robot.channel.request('fault', kind='refuse_remote')
    answer = robot.call('arm')
    assert not answer.success and 'remote' in answer.message
    assert robot.status.mode == SafetyStatus.DISARMED
    robot.channel.request('fault', kind='allow_remote')
    assert robot.call('arm').success


def refused(*arguments: str, patience_s: float = 30.0) -> str:
    """Output of a robot node that must end by itself, with status 1."""
    environment = os.environ | {'ROS_DOMAIN_ID': str(1 + os.getpid() % 100)}
    command = [sys.executable, '-m', 'sqil_ros.nodes.robot_node', '--ros-args']
    for argument in arguments:
        command += ['-p', argument]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=patience_s, check=False
    )
    assert result.returncode == 1
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['limits.linear_speed:=1.5'], ('linear_speed', '1.5')),
        (['limits.linear_speed:=fast'], ('linear_speed',)),
        (['workspace.low:=[0.0, 0.0, 0.0]'], ('workspace.low', 'workspace.high')),
        (['keep_out:=[0.0, 1.0]'], ('keep_out', '6 numbers')),
        (['limits.condition_slow:=90.0'], ('condition_slow', 'condition_stop')),
        (['ur_type:=ur5'], ('ur5', 'ur5e', 'contract.yaml')),
        (['gripper:=hand'], ('hand', 'robotiq')),
        (['contract:=nowhere.yaml'], ('nowhere.yaml',)),
    ],
)
def test_parameters_that_cannot_be_are_refused_at_the_start(arguments, words):
    output = refused(*arguments)
    assert all(word in output for word in words), output
    assert 'Traceback' not in output


@pytest.mark.parametrize('silent', [False, True])
def test_an_absent_or_silent_robot_is_a_fault_in_time(graph, silent):
    host = free_host()
    servers = [socket.create_server((host, port)) for port in (30004, 29999) if silent]
    safety = graph.collect(SafetyStatus, 'robot/safety', LATCHED)
    node = graph.start('sqil_ros.nodes.robot_node', robot_ip=host, probe_s='1.0')
    graph.spin_until(lambda: safety and safety[-1].fault, timeout_s=20.0)
    assert safety[-1].fault == 'robot_unreachable'
    assert re.search(rf'{host} port 30004 .*check robot_ip', safety[-1].message)
    answer = graph.call(Trigger, 'ur5_robot/arm', Trigger.Request())
    assert not answer.success and 'reset_fault' in answer.message
    answer = graph.call(Trigger, 'ur5_robot/reset_fault', Trigger.Request())
    assert not answer.success and host in answer.message
    assert node.poll() is None
    for server in servers:
        server.close()
