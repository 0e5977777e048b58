# SPDX-License-Identifier: Apache-2.0
"""A host that is absent, silent or something else is refused in time, with the mend."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sqil_ros.errors import RobotFault, RobotUnreachable
from sqil_ros.robot.dashboard import Dashboard
from sqil_ros.robot.probe import DASHBOARD_PORT, RTDE_PORT, probe
from sqil_ros.robot.robotiq import (
    PORT,
    Gripper,
    RobotiqClient,
    opening_from_position,
    position_from_opening,
)

HOST = '127.0.11.7'
Serve = Callable[[socket.socket], None]


class Servers:
    """Listens on this test's own loopback address."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []

    def listen(self, port: int, serve: Serve) -> None:
        server = socket.create_server((HOST, port))
        self._open.append(server)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                self._open.append(connection)
                threading.Thread(target=self._one, args=(serve, connection), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    @staticmethod
    def _one(serve: Serve, connection: socket.socket) -> None:
        try:
            serve(connection)
        except OSError:
            return

    def close(self) -> None:
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture
def servers() -> Iterator[Servers]:
    listening = Servers()
    yield listening
    listening.close()


def rtde(connection: socket.socket) -> None:
    """Protocol version and controller version, each in two segments."""
    while header := connection.recv(3):
        size, kind = struct.unpack('>HB', header)
        connection.recv(size - 3)
        body = b'\x01' if kind == ord('V') else struct.pack('>IIII', 5, 12, 0, 1)
        packet = struct.pack('>HB', 3 + len(body), kind) + body
        connection.sendall(packet[:2])
        time.sleep(0.02)
        connection.sendall(packet[2:])


def dashboard(connection: socket.socket) -> None:
    connection.sendall(b'Connected: Universal Robots Dashboard Server\n')
    refusals = 2
    while line := connection.recv(1024).decode():
        if 'unlock' in line and refusals:
            refusals -= 1
            connection.sendall(b'Cannot unlock protective stop until 5s\n')
        elif 'unlock' in line:
            connection.sendall(b'Protective stop releasing\n')
        else:
            connection.sendall(b'Stopped\n')


def silent(connection: socket.socket) -> None:
    time.sleep(30)


def test_a_controller_answers(servers: Servers) -> None:
    servers.listen(RTDE_PORT, rtde)
    servers.listen(DASHBOARD_PORT, dashboard)
    info = probe(HOST)
    assert info.version == (5, 12, 0, 1)
    assert info.has_dashboard and 'Dashboard' in info.banner


def test_a_refusing_host_is_named() -> None:
    with pytest.raises(RobotUnreachable, match=rf'{HOST} port {RTDE_PORT}.*check robot_ip'):
        probe(HOST)


@pytest.mark.parametrize('quiet', [RTDE_PORT, DASHBOARD_PORT])
def test_a_silent_host_is_refused_within_its_deadline(servers: Servers, quiet: int) -> None:
    for port, serve in ((RTDE_PORT, rtde), (DASHBOARD_PORT, dashboard)):
        servers.listen(port, silent if port == quiet else serve)
    start = time.monotonic()
    with pytest.raises(RobotUnreachable, match=rf'port {quiet} gave no answer within 0.3 s'):
        probe(HOST, 0.3)
    assert time.monotonic() - start < 3.0


def test_a_host_that_trickles_is_refused_as_well(servers: Servers) -> None:
    def trickle(connection: socket.socket) -> None:
        while True:
            connection.sendall(b'\x00')
            time.sleep(0.05)

    servers.listen(RTDE_PORT, trickle)
    with pytest.raises(RobotUnreachable):
        probe(HOST, 0.5)


def test_another_service_is_refused(servers: Servers) -> None:
    servers.listen(RTDE_PORT, lambda connection: connection.sendall(b'\x00\x04V\x00'))
    with pytest.raises(RobotUnreachable, match='not a UR controller'):
        probe(HOST, 0.5)


def test_unlocking_waits_as_long_as_the_controller_insists(servers: Servers) -> None:
    servers.listen(DASHBOARD_PORT, dashboard)
    with Dashboard(HOST) as link:
        link.stop_program()
        link.unlock_protective_stop(patience_s=5.0)
    with Dashboard(HOST) as link, pytest.raises(RobotFault, match='protective stop stays'):
        link.unlock_protective_stop(patience_s=0.0)


def test_gripper_positions_invert() -> None:
    assert position_from_opening(1.0) == 0 and position_from_opening(0.0) == 255
    for position in range(256):
        assert position_from_opening(opening_from_position(position)) == position


def test_the_gripper_activates_and_follows(servers: Servers) -> None:
    values = {'POS': 3, 'STA': 0, 'ACT': 0, 'SPE': 0, 'FOR': 0, 'GTO': 0}

    def gripper(connection: socket.socket) -> None:
        while words := connection.recv(1024).decode().split():
            if words[0] == 'GET':
                connection.sendall(f'{words[1]} {values[words[1]]}\n'.encode())
                continue
            values.update({k: int(v) for k, v in zip(words[1::2], words[2::2], strict=True)})
            values['STA'] = 3 if values['ACT'] else 0
            connection.sendall(b'ack')

    servers.listen(PORT, gripper)
    device = Gripper(RobotiqClient(HOST), force=0.4)
    try:
        assert values['ACT'] == 0, 'nothing moves before the first command'
        device.command(0.0)
        end = time.monotonic() + 10.0
        while device.opening > 0.0 and time.monotonic() < end:
            time.sleep(0.01)
        assert device.opening == 0.0 and values['ACT'] == 1
        assert values['FOR'] == 102
    finally:
        device.close()


def test_a_gripper_that_hangs_up_is_called_again_and_one_that_is_gone_is_a_fault(
    servers: Servers,
) -> None:
    calls = []

    def one_answer(connection: socket.socket) -> None:
        calls.append(connection)
        connection.recv(1024)
        connection.sendall(b'POS 0\n')
        if len(calls) == 2:
            servers.close()

    servers.listen(PORT, one_answer)
    device = Gripper(RobotiqClient(HOST, deadline_s=0.2), force=0.4)
    end = time.monotonic() + 10.0
    while not device.fault and time.monotonic() < end:
        time.sleep(0.01)
    assert len(calls) == 2
    assert 'install its URCap' in device.fault
    device.close()
