# SPDX-License-Identifier: Apache-2.0
import json
import socket
import threading

import pytest

from sqil_ros.errors import RobotUnreachable, SceneError
from sqil_ros.sim.side_channel import SideChannel


@pytest.fixture
def server():
    """A server whose answers the test chooses, one string per request line."""
    listener = socket.create_server(('127.0.0.1', 0))
    answers, requests = [], []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile('rwb') as stream:
                for line in stream:
                    requests.append(json.loads(line))
                    answer = answers.pop(0)
                    if answer is None:
                        break
                    stream.write(answer)
                    stream.flush()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], answers, requests
    listener.close()


def test_request_and_answer_in_pieces(server):
    port, answers, requests = server
    answers += [b'{"ok": true}\n', json.dumps({'qpos': [0.5] * 50_000}).encode() + b'\n']
    channel = SideChannel('127.0.0.1', port)
    assert channel.request('reset', seed=3, task='lift') == {'ok': True}
    assert len(channel.request('snapshot')['qpos']) == 50_000
    assert requests == [{'cmd': 'reset', 'seed': 3, 'task': 'lift'}, {'cmd': 'snapshot'}]
    channel.close()


def test_refusal_is_a_scene_error_and_keeps_the_connection(server):
    port, answers, _ = server
    answers += [b'{"error": "no such task"}\n', b'{"ok": true}\n']
    channel = SideChannel('127.0.0.1', port)
    with pytest.raises(SceneError, match='no such task'):
        channel.request('reset')
    assert channel.request('success') == {'ok': True}
    channel.close()


@pytest.mark.parametrize('answer', [None, b'not json\n'])
def test_broken_connection_is_named_and_the_next_request_reconnects(server, answer):
    port, answers, _ = server
    answers += [answer, b'{"ok": true}\n']
    channel = SideChannel('127.0.0.1', port)
    with pytest.raises(RobotUnreachable, match='snapshot'):
        channel.request('snapshot')
    assert channel.request('snapshot') == {'ok': True}
    channel.close()


def test_silence_ends_in_time(server):
    port, answers, _ = server
    answers += [b'{"half": ']
    with pytest.raises(RobotUnreachable, match=r'within 0\.2 s'):
        SideChannel('127.0.0.1', port, timeout_s=0.2).request('snapshot')


def test_nobody_listens():
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RobotUnreachable, match=f':{port}'):
        SideChannel('127.0.0.1', port).request('snapshot')
