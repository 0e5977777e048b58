# SPDX-License-Identifier: Apache-2.0
"""The ROS side of the demo's episodes: orders to the nodes, and what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import rclpy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image as ImageMessage

from sqil_ros.contract import Camera, Contract
from sqil_ros.errors import ObservationError
from sqil_ros.msg import EndEffectorAction, EpisodeEvent, SafetyStatus
from sqil_ros.nodes.action_qos import ACTION
from sqil_ros.nodes.operator import Operator
from sqil_ros.nodes.policy_messages import image_sample
from sqil_ros.nodes.qos import SENSOR
from sqil_ros.types import Image

_ACTIONS_A_FRAME = 5


class EpisodeStage:
    """The :class:`sqil_ros.demo.conductor.Stage` of a running graph.

    Attributes:
        operator: gives the orders.
        latency_ms: image to action, one number per action of the episode.
        films: pictures of the episode, one list per camera of the contract.
    """

    def __init__(self, operator: Operator, contract: Contract) -> None:
        """Listen to the actions and to the cameras of ``contract``."""
        self.operator = operator
        self.latency_ms: list[float] = []
        self.films: tuple[list[Image], ...] = tuple([] for _ in contract.cameras)
        self._contract = contract
        self._episode_id = ''
        self._newest: dict[str, bytes] = {}
        node = operator.node
        node.create_subscription(EndEffectorAction, 'vla_policy/action', self._on_action, ACTION)
        for camera in contract.cameras:
            # Kept as they came: of fifteen pictures a second, one is looked at.
            node.create_subscription(
                ImageMessage, camera.topic, partial(self._on_image, camera), SENSOR, raw=True
            )

    @property
    def fault(self) -> str:
        """What keeps the robot from moving; empty if nothing does."""
        safety = self.operator.safety
        if safety is None or safety.mode != SafetyStatus.FAULT:
            return ''
        return f'{safety.fault}: {safety.message}'

    @property
    def complaint(self) -> str:
        """What the policy node complains about; empty if nothing."""
        policy = self.operator.policy
        return 'it is silent' if policy is None else policy.message

    def order(self, name: str) -> None:
        """Call ``arm``, ``stop``, ``home`` or ``reset_fault`` of the robot.

        Raises:
            RobotFault: it was refused.
            OperatorTimeout: it was not answered.
        """
        self.operator.order(name)

    def instruct(self, instruction: str) -> None:
        """Tell the policy what to do; returns when it has understood.

        Raises:
            OperatorTimeout: it does not listen.
        """
        self.operator.instruct(instruction)
        self.operator.wait_for(
            lambda: (
                self.operator.policy is not None
                and self.operator.policy.instruction == instruction
            ),
            f'The instruction {instruction!r} understood',
            timeout_s=20.0,
        )

    def begin(self, episode_id: str, **fields: Any) -> None:
        """Announce an episode (fields as in ``EpisodeEvent``); note its actions and pictures."""
        self.latency_ms = []
        self.films = tuple([] for _ in self._contract.cameras)
        self._episode_id = episode_id
        self._take_pictures()
        self.operator.announce(EpisodeEvent.START, episode_id, **fields)

    def end(self, success: bool, message: str) -> None:
        """Announce how the episode ended."""
        self._take_pictures()
        kind = EpisodeEvent.SUCCESS if success else EpisodeEvent.FAILURE
        self.operator.announce(kind, self._episode_id, message=message)
        self._episode_id = ''

    def _on_image(self, camera: Camera, message: bytes) -> None:
        self._newest[camera.name] = message

    def _on_action(self, message: EndEffectorAction) -> None:
        if not self._episode_id or message.episode_id != self._episode_id:
            return
        self.latency_ms.append(message.latency_ms)
        if len(self.latency_ms) % _ACTIONS_A_FRAME == 0:
            self._take_pictures()

    def _take_pictures(self) -> None:
        for camera, film in zip(self._contract.cameras, self.films, strict=True):
            raw = self._newest.get(camera.name)
            if raw is None:
                continue
            try:
                message = deserialize_message(raw, ImageMessage)
                film.append(image_sample(self._contract, camera, message).value)
            except ObservationError as error:
                self.operator.node.get_logger().warning(str(error), throttle_duration_sec=5.0)


@contextmanager
def stage(contract: Contract, namespace: str = '') -> Iterator[EpisodeStage]:
    """A stage while the ``with`` block runs; signals stay with the caller."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        with Operator('demo', namespace) as operator:
            yield EpisodeStage(operator, contract)
    finally:
        rclpy.try_shutdown()
