# SPDX-License-Identifier: Apache-2.0
"""Ports and process of the emulator without ur_rtde: gripper, raw RTDE, command line, load."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sqil_ros.errors import SceneError
from sqil_ros.sim.ur_controller.rtde_protocol import (
    PackageReader,
    PackageType,
    encode_output_setup,
    encode_package,
)


class Line:
    """A request-reply client of one port."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), 5.0)

    def ask(self, text):
        self.socket.sendall(text.encode() + b'\n')
        return self.socket.recv(4096).decode()


class RawRtde:
    """An RTDE client made of sockets."""

    def __init__(self, host, *fields, frequency=125.0):
        self.socket = socket.create_connection((host, 30004), 5.0)
        self.reader = PackageReader()
        self.pending = []
        if fields:
            self.ask(PackageType.SETUP_OUTPUTS, encode_output_setup(frequency, fields))
            self.ask(PackageType.START)

    def ask(self, kind, body=b''):
        self.socket.sendall(encode_package(kind, body))
        while True:
            answer, content = self.receive()
            if answer == kind:
                return content

    def receive(self):
        while not self.pending:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionResetError
            self.pending += self.reader.feed(data)
        return self.pending.pop(0)


def until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.02)
    return condition()


def test_gripper_wants_activation_then_moves_and_reports(robot):
    gripper = Line(robot.host, 63352)
    assert gripper.ask('GET STA') == 'STA 0\n'
    assert gripper.ask('SET POS 255 GTO 1') == 'ack'
    time.sleep(0.1)
    assert gripper.ask('GET POS') == 'POS 0\n'
    assert gripper.ask('SET ACT 1') == 'ack'
    assert gripper.ask('GET STA') == 'STA 3\n'
    assert gripper.ask('SET POS 128 SPE 255 FOR 100 GTO 1') == 'ack'
    assert gripper.ask('GET PRE') == 'PRE 128\n'
    assert gripper.ask('GET OBJ') == 'OBJ 0\n'
    assert until(lambda: gripper.ask('GET OBJ') == 'OBJ 3\n', 3.0)
    assert until(lambda: gripper.ask('GET POS') == 'POS 128\n', 2.0)
    assert gripper.ask('GET POS\nGET PRE') == 'POS 128\nPRE 128\n'
    assert gripper.ask('SET POS abc') == 'nack'
    robot.fault('emergency_stop')
    assert gripper.ask('GET POS') == 'POS ?\n'


def test_dashboard_refuses_what_it_does_not_know(robot, panel):
    replies = panel(robot.host, 'make coffee', 'running', 'play', 'PolyscopeVersion')
    assert replies[0].startswith('could not understand')
    assert replies[1:3] == ['Program running: false', 'Failed to execute: play']
    assert replies[3] == 'URSoftware 5.12.0.0'


def test_rtde_refuses_unknown_and_taken_inputs(robot):
    first, second = RawRtde(robot.host), RawRtde(robot.host)
    assert first.ask(PackageType.PROTOCOL_VERSION, b'\x00\x02') == b'\x01'
    assert first.ask(PackageType.PROTOCOL_VERSION, b'\x00\x01') == b'\x00'
    assert first.ask(PackageType.SETUP_INPUTS, b'input_int_register_5,') == b'\x01INT32'
    taken = second.ask(PackageType.SETUP_INPUTS, b'input_int_register_5,input_int_register_6,')
    assert taken == b'\x00IN_USE,INT32'
    unknown = second.ask(PackageType.SETUP_INPUTS, b'no_such_input,')
    assert unknown == b'\x00NOT_FOUND'
    first.socket.close()
    assert until(
        lambda: second.ask(PackageType.SETUP_INPUTS, b'input_int_register_5,')[0] > 0, 2.0
    )


def test_rtde_sends_nothing_before_start_and_decimates(robot):
    client = RawRtde(robot.host)
    client.ask(PackageType.SETUP_OUTPUTS, encode_output_setup(25.0, ['timestamp']))
    client.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    client.socket.settimeout(5.0)
    client.ask(PackageType.START)
    stamps = [struct.unpack('>Bd', client.receive()[1])[1] for _ in range(5)]
    assert [b - a for a, b in itertools.pairwise(stamps)] == pytest.approx([0.04] * 4)


def test_garbage_costs_only_its_own_connection(robot):
    client = RawRtde(robot.host, 'timestamp')
    garbage = socket.create_connection((robot.host, 30004), 5.0)
    garbage.sendall(b'\x00\x01GET / HTTP/1.1\r\n')
    assert garbage.recv(1) == b''
    with socket.create_connection((robot.host, 30003), 5.0) as script:
        script.sendall(b'def broken():\n  movej(q_unknown)\nend\n')
        assert until(lambda: 'literal' in robot.statistics()['program_error'], 2.0)
    assert client.receive()[0] == PackageType.DATA


def test_a_client_that_does_not_read_misses_states_and_delays_nobody(robot):
    sleeper = RawRtde(robot.host, *(f'output_double_register_{i}' for i in range(48)))
    other = RawRtde(robot.host, 'timestamp')
    assert sleeper.receive()[0] == PackageType.DATA

    def dropped():
        other.receive()
        return robot.statistics()['dropped_states'] > 0

    # The kernel's buffers hold some hundred kilobytes before the client counts as slow.
    assert until(dropped, 25.0)


def test_late_cycles_are_made_and_counted(robot):
    before = robot.statistics()
    robot.fault('late', cycles=5, seconds=0.03)
    assert until(lambda: robot.statistics()['late_cycles'] >= before['late_cycles'] + 4, 3.0)


def test_bad_requests_on_the_side_channel_are_named(robot):
    for cmd, values, word in (
        ('fly', {}, 'statistics'),
        ('fault', {'kind': 'meteor'}, 'protective_stop'),
        ('fault', {'kind': 'late', 'seconds': 1e9}, 'seconds'),
        ('reset', {'seed': 'x'}, 'seed'),
        ('reset', {'seed': 1, 'task': 'cup_plate'}, 'toy_sink'),
    ):
        with pytest.raises(SceneError, match=word):
            robot.channel.request(cmd, **values)
    line = Line(robot.host, 30900)
    assert 'error' in json.loads(line.ask('not json'))


def test_two_robots_side_by_side(start, client):
    one, two = start('--arm', 'ur5e'), start('--arm', 'ur5', '--version', '3.15')
    assert client('motions.servo', one.host, joints=True)['accepted']
    assert two.statistics()['commands'] == {}
    assert client('motions.servo', two.host, joints=False)['accepted']
    # Other lengths, other pose at the same joint angles.
    poses = [robot.statistics()['tcp_pose'] for robot in (one, two)]
    assert poses[0][:3] != pytest.approx(poses[1][:3], abs=0.02)


def test_500_hz(start, client):
    emulator = start('--rate', '500')
    found = client('motions.servo', emulator.host, joints=False)
    assert found['accepted'] and found['stopped'] and found['move_after']
    # Even a loaded machine catches up after late cycles.
    before, begin = emulator.statistics(), time.monotonic()
    time.sleep(1.0)
    rate = (emulator.statistics()['cycles'] - before['cycles']) / (time.monotonic() - begin)
    assert rate > 350.0


def emulate(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, '-m', 'sqil_ros.sim.ur_controller', *arguments],
        capture_output=True,
        text=True,
        timeout=30.0,
        **kwargs,
    )


def test_taken_ports_and_foreign_addresses_are_refused(robot):
    taken = emulate('--host', robot.host, '--lifetime', '20')
    assert taken.returncode == 2
    assert '--host' in taken.stderr and 'another emulator' in taken.stderr
    foreign = emulate('--host', '192.0.2.1', '--lifetime', '20')
    assert foreign.returncode == 2 and 'this machine' in foreign.stderr
    assert emulate('--host', 'robot').returncode == 2
    assert emulate('--version', 'new').returncode == 2


def test_lifetime_ends_the_process():
    host = f'127.{os.getpid() % 200 + 10}.7.9'
    begin = time.monotonic()
    assert emulate('--host', host, '--lifetime', '0.2').returncode == 0
    assert time.monotonic() - begin < 20.0


def test_the_process_ends_with_its_parent():
    host = f'127.{os.getpid() % 200 + 10}.8.9'
    code = (
        'import subprocess, sys, time\n'
        "p = subprocess.Popen([sys.executable, '-m', 'sqil_ros.sim.ur_controller', '--host', "
        f"'{host}', '--watch-parent', '--lifetime', '60'], stdout=subprocess.PIPE)\n"
        'p.stdout.readline()\n'
        'print(p.pid, flush=True)\n'
        'time.sleep(60)\n'
    )
    parent = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    def gone():
        try:
            return Path(f'/proc/{child}/stat').read_text().rsplit(')')[1].split()[0] == 'Z'
        except FileNotFoundError:
            return True

    assert until(gone, 5.0)


def test_inject_from_the_command_line(robot):
    def inject(*arguments):
        return subprocess.run(
            [sys.executable, '-m', 'sqil_ros.sim.ur_controller.inject', *arguments],
            capture_output=True,
            text=True,
            timeout=30.0,
        )

    assert inject('--host', robot.host, 'protective_stop').returncode == 0
    assert robot.statistics()['safety_mode'] == 'PROTECTIVE_STOP'
    found = inject('--host', robot.host, 'statistics')
    assert json.loads(found.stdout)['stop_reason'] == 'injected'
    refused = inject('--host', robot.host, 'late', 'cycles=-1')
    assert refused.returncode == 2 and 'cycles' in refused.stderr
    silent = inject('--host', '127.9.9.9', 'release')
    assert silent.returncode == 2 and '127.9.9.9' in silent.stderr
