# SPDX-License-Identifier: Apache-2.0
"""How many camera images get lost between two processes, with and without our Fast DDS profile.

python -m sqil_ros.nodes.image_transport_bench --json docs/results/image_transport.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import Image

from sqil_ros.provenance import provenance
from sqil_ros.share import share_directory

HEIGHT, WIDTH, RATE_HZ = 480, 640, 30.0
TOPIC = 'image_transport_bench/image_raw'
_PROFILE_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
_PARTNER_TIMEOUT_S = 30.0
_SILENCE_S = 2.0


def publish(frames: int) -> dict[str, Any]:
    """Send numbered images at the camera's rate, once somebody listens."""
    node = rclpy.create_node('camera')
    publisher = node.create_publisher(Image, TOPIC, qos_profile_sensor_data)
    deadline = time.monotonic() + _PARTNER_TIMEOUT_S
    while not publisher.get_subscription_count():
        if time.monotonic() > deadline:
            raise SystemExit(f'Nobody subscribed to {TOPIC} within {_PARTNER_TIMEOUT_S} s.')
        time.sleep(0.05)
    time.sleep(0.5)  # the subscriber may see the match a moment later than we do
    # Noise, so that nothing on the way can be clever about it.
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8).tobytes()
    message = Image(height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH, data=pixels)
    start = time.monotonic()
    for number in range(frames):
        time.sleep(max(0.0, start + number / RATE_HZ - time.monotonic()))
        message.header.frame_id = str(number)
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
    seconds = time.monotonic() - start
    time.sleep(1.0)
    return {'sent': frames, 'rate_hz': round((frames - 1) / seconds, 2)}


class Listener(Node):
    """Notes which images arrive, and after how long."""

    def __init__(self) -> None:
        """Subscribe as a policy would."""
        super().__init__('listener')
        self.latency_ms: dict[int, float] = {}
        self.last_s = time.monotonic() + _PARTNER_TIMEOUT_S
        self.create_subscription(Image, TOPIC, self._receive, qos_profile_sensor_data)

    def _receive(self, message: Image) -> None:
        now = self.get_clock().now()
        age_ns = (now - Time.from_msg(message.header.stamp)).nanoseconds
        self.latency_ms[int(message.header.frame_id)] = age_ns / 1e6
        self.last_s = time.monotonic()


def listen() -> dict[str, Any]:
    """Receive until the camera falls silent."""
    node = Listener()
    while time.monotonic() < node.last_s + _SILENCE_S:
        rclpy.spin_once(node, timeout_sec=0.1)
    latency_ms = list(node.latency_ms.values()) or [float('nan')]
    percentiles = np.percentile(latency_ms, [50, 95, 99])
    return {
        'received': len(node.latency_ms),
        'latency_ms': dict(zip(('p50', 'p95', 'p99'), percentiles.round(2).tolist(), strict=True)),
    }


def measure(profile: Path | None, frames: int) -> dict[str, Any]:
    """Run both roles as processes under a Fast DDS profile, None for Fast DDS's own defaults."""
    environment = {name: text for name, text in os.environ.items() if name != _PROFILE_VARIABLE}
    if profile is not None:
        environment[_PROFILE_VARIABLE] = str(profile)
    command = [sys.executable, '-m', __spec__.name, '--frames', str(frames), '--role']
    processes = {
        role: subprocess.Popen([*command, role], env=environment, stdout=subprocess.PIPE)
        for role in ('listener', 'camera')
    }
    result: dict[str, Any] = {}
    for role, process in processes.items():
        output, _ = process.communicate(timeout=2 * _PARTNER_TIMEOUT_S + frames / RATE_HZ)
        if process.returncode:
            raise SystemExit(f'The {role} ended with status {process.returncode}.')
        result |= json.loads(output.splitlines()[-1])
    result['lost_percent'] = round(100.0 * (1.0 - result['received'] / result['sent']), 3)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both ways; the status is 1 when our profile loses 1 % or more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--frames', type=int, default=900, help='images of each case')
    parser.add_argument('--json', type=Path, help='file for the result')
    parser.add_argument('--role', choices=('camera', 'listener'), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.role:
        rclpy.init(args=[])
        done = publish(arguments.frames) if arguments.role == 'camera' else listen()
        print(json.dumps(done))
        return 0
    default = measure(None, arguments.frames)
    shipped = measure(share_directory() / 'config' / 'fastdds_shm.xml', arguments.frames)
    result = {
        'image': f'{WIDTH}x{HEIGHT} rgb8, best effort, depth 5',
        'profiles': {'fastdds_default': default, 'fastdds_shm.xml': shipped},
        'made_by': provenance(),
    }
    text = json.dumps(result, indent=2) + '\n'
    print(text, end='')
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text)
    return int(shipped['lost_percent'] >= 1.0)


if __name__ == '__main__':
    sys.exit(main())
