# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import socketserver
import threading
import time

import numpy as np
import pytest

pytestmark = [pytest.mark.ros, pytest.mark.sim]


class FakeEmulator:
    """Answers snapshots on a side channel and counts them."""

    def __init__(self, answer, port=0):
        self.answer = answer
        self.asked = 0
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    assert json.loads(line)['cmd'] == 'snapshot'
                    outer.asked += 1
                    self.wfile.write(json.dumps(outer.answer).encode() + b'\n')

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

            def process_request(self, request, client_address):
                outer.connections.append(request)
                super().process_request(request, client_address)

        self.connections = []
        self.server = Server(('127.0.0.1', port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(2)


@pytest.fixture(scope='module')
def scene():
    from sqil_ros.sim.toy_sink import ToySink

    toy_sink = ToySink()
    toy_sink.reset(7)
    yield toy_sink
    toy_sink.close()


@pytest.fixture
def emulator(scene):
    fake = FakeEmulator({'time': 1.0, 'qpos': scene.qpos().tolist(), 'seed': 7})
    yield fake
    fake.close()


def start(graph, emulator, **parameters):
    return graph.start(
        'sqil_ros.nodes.sim_camera_node',
        robot_ip='127.0.0.1',
        side_channel_port=emulator.port,
        **parameters,
    )


def collect(graph):
    from sensor_msgs.msg import Image

    from sqil_ros.nodes.qos import SENSOR

    return graph.collect(Image, 'image_raw', SENSOR), graph.collect(
        Image, 'wrist/image_raw', SENSOR
    )


def pixels(message):
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def test_both_cameras_show_the_scene_with_one_stamp(graph, emulator, scene):
    main, wrist = collect(graph)
    start(graph, emulator)
    graph.spin_until(lambda: len(main) >= 5 and len(wrist) >= 5)
    for message, picture in zip((main[-1], wrist[-1]), scene.render(), strict=True):
        assert message.encoding == 'rgb8'
        difference = np.abs(pixels(message).astype(int) - picture)
        assert difference.mean() < 2.0
    stamps = [{(m.header.stamp.sec, m.header.stamp.nanosec) for m in row} for row in (main, wrist)]
    assert len(stamps[0] & stamps[1]) >= 3
    now_s = graph.node.get_clock().now().nanoseconds / 1e9
    assert abs(now_s - main[-1].header.stamp.sec) < 5.0


def test_other_sizes_can_be_asked_for(graph, emulator):
    main, _ = collect(graph)
    start(graph, emulator, width=64, height=48, camera_hz=5.0)
    graph.spin_until(lambda: main)
    assert pixels(main[0]).shape == (48, 64, 3)


def test_survives_an_emulator_that_comes_late_and_restarts(graph, emulator):
    port = emulator.port
    emulator.close()
    main, _ = collect(graph)
    process = start(graph, emulator, camera_hz=5.0)
    time.sleep(2.0)
    assert process.poll() is None
    for _ in range(2):
        revived = FakeEmulator(emulator.answer, port)
        main.clear()
        graph.spin_until(lambda: len(main) >= 3)
        revived.close()
        graph.spin_for(1.0)
    assert 'did not answer' in process.log.read_text()
    with process.log.open() as log:
        assert sum('did not answer' in line for line in log) < 6  # waits, does not spin


def test_scene_of_another_plant_is_named_and_does_not_end_the_node(graph, emulator):
    emulator.answer = {'time': 1.0, 'qpos': [0.0] * 6}
    process = start(graph, emulator)
    graph.spin_until(lambda: 'another scene' in process.log.read_text())
    time.sleep(1.5)
    assert process.poll() is None
    assert emulator.asked < 10


def test_parameter_out_of_range_is_refused_by_name(graph, emulator):
    process = start(graph, emulator, camera_hz=1000.0)
    assert process.wait(30.0) == 1
    text = process.log.read_text()
    assert 'camera_hz' in text
    assert '1000' in text
