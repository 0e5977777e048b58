# SPDX-License-Identifier: Apache-2.0
"""Listens to a running graph and keeps what a spectator wants to see; sends nothing."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image as ImageMessage

from sqil_ros.contract import Contract
from sqil_ros.msg import EpisodeEvent, LatencyBreakdown, PolicyStatus, SafetyStatus
from sqil_ros.nodes.policy_messages import image_sample
from sqil_ros.nodes.qos import COMMAND, EVENTS, LATCHED, SENSOR
from sqil_ros.types import Image

_MIB = 2**20
_MODES = {
    SafetyStatus.DISARMED: 'disarmed',
    SafetyStatus.DRY_RUN: 'dry run',
    SafetyStatus.ARMED: 'armed',
    SafetyStatus.HOLD: 'hold',
    SafetyStatus.FAULT: 'fault',
}
_ENDS = {
    EpisodeEvent.START: 'running',
    EpisodeEvent.SUCCESS: 'success',
    EpisodeEvent.FAILURE: 'failure',
    EpisodeEvent.DISCARD: 'discarded',
}


class Watcher:
    """Newest pictures and states; use it as a context manager. Methods may be called anywhere."""

    def __init__(self, contract: Contract, namespace: str = '') -> None:
        """Prepare to listen to the topics of ``contract``."""
        self._contract = contract
        self._namespace = namespace
        self._access = threading.Lock()
        self._images: dict[str, bytes] = {}
        self._seen_s: dict[str, float] = {}
        self._policy: PolicyStatus | None = None
        self._safety: SafetyStatus | None = None
        self._latency: LatencyBreakdown | None = None
        self._episodes: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Watcher:
        """Begin to listen; signals stay with the caller."""
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node('spectator', namespace=self._namespace)
        for camera in self._contract.cameras:
            # Nothing is unpacked before somebody looks at it.
            node.create_subscription(
                ImageMessage, camera.topic, partial(self._on_image, camera.name), SENSOR, raw=True
            )
        node.create_subscription(PolicyStatus, 'vla_policy/status', self._on_policy, LATCHED)
        node.create_subscription(LatencyBreakdown, 'vla_policy/latency', self._on_latency, COMMAND)
        node.create_subscription(SafetyStatus, 'robot/safety', self._on_safety, LATCHED)
        node.create_subscription(EpisodeEvent, 'episode/event', self._on_episode, EVENTS)
        self._node, self._executor = node, SingleThreadedExecutor()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name='spectator', daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(5.0)
        self._node.destroy_node()
        rclpy.try_shutdown()

    def picture(self, camera: str) -> Image | None:
        """Newest picture of a camera, (H, W, 3) uint8 RGB; None before the first.

        Raises:
            ObservationError: it is not as the contract says.
        """
        with self._access:
            raw = self._images.get(camera)
        if raw is None:
            return None
        known = next(c for c in self._contract.cameras if c.name == camera)
        image: Image = image_sample(
            self._contract, known, deserialize_message(raw, ImageMessage)
        ).value
        return image

    def state(self) -> dict[str, Any]:
        """Everything else, ready for JSON; parts that nobody has published yet are None."""
        with self._access:
            return {
                'picture_age_s': {
                    name: round(time.monotonic() - seen_s, 2)
                    for name, seen_s in self._seen_s.items()
                },
                'policy': _policy(self._policy),
                'robot': _robot(self._safety),
                'latency': _latency(self._latency),
                'episodes': list(self._episodes.values()),
            }

    def _on_image(self, camera: str, message: bytes) -> None:
        with self._access:
            self._images[camera] = message
            self._seen_s[camera] = time.monotonic()

    def _on_policy(self, message: PolicyStatus) -> None:
        with self._access:
            self._policy = message

    def _on_latency(self, message: LatencyBreakdown) -> None:
        with self._access:
            self._latency = message

    def _on_safety(self, message: SafetyStatus) -> None:
        with self._access:
            self._safety = message

    def _on_episode(self, message: EpisodeEvent) -> None:
        with self._access:
            if message.kind == EpisodeEvent.START:
                # The same episode may be tried again: it moves to the end.
                self._episodes.pop(message.episode_id, None)
                self._episodes[message.episode_id] = {
                    'task': message.task,
                    'instruction': message.instruction,
                    'seed': message.seed,
                }
            episode = self._episodes.get(message.episode_id)
            if episode is not None:
                episode |= {'state': _ENDS[message.kind], 'message': message.message}

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return


def _policy(status: PolicyStatus | None) -> dict[str, Any] | None:
    if status is None:
        return None
    return {
        'state': status.state,
        'profile': status.profile,
        'requested_profile': status.requested_profile,
        'back_end': status.back_end,
        'message': status.message,
        'instruction': status.instruction,
        'ticks': status.ticks,
        'missed_ticks': status.missed_ticks,
        'weight_mib': round(status.weight_bytes / _MIB, 1),
    }


def _robot(status: SafetyStatus | None) -> dict[str, Any] | None:
    if status is None:
        return None
    return {
        'mode': _MODES.get(status.mode, str(status.mode)),
        'fault': status.fault,
        'message': status.message,
    }


def _latency(message: LatencyBreakdown | None) -> list[dict[str, Any]] | None:
    if message is None:
        return None
    columns = (message.last_ms, message.p50_ms, message.p95_ms, message.p99_ms)
    names = ('last', 'p50', 'p95', 'p99')
    return [
        {'stage': stage}
        | {name: round(value, 1) for name, value in zip(names, values, strict=True)}
        for stage, *values in zip(message.stages, *columns, strict=True)
    ]
