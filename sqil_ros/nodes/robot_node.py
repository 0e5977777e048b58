# SPDX-License-Identifier: Apache-2.0
"""``/ur5_robot``: filtered actions to the arm, and the arm's state to everybody.

The arm's own loop runs in a supervised worker process; this node filters, forwards and reports.
Nothing moves before ``~/arm`` or ``~/home``, and after a fault nothing before ``~/reset_fault``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from itertools import count

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.event_handler import QoSLivelinessChangedInfo, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import LivelinessPolicy, QoSProfile
from rclpy.task import Future
from rclpy.time import Time
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from sqil_ros.msg import EndEffectorAction
from sqil_ros.nodes import robot_messages as messages
from sqil_ros.nodes import robot_parameters
from sqil_ros.nodes.action_qos import ACTION
from sqil_ros.nodes.qos import COMMAND
from sqil_ros.nodes.robot_publisher import RobotPublisher
from sqil_ros.nodes.robot_reporter import RobotReporter
from sqil_ros.nodes.run import run
from sqil_ros.priority import go_first
from sqil_ros.robot.commander import Commander
from sqil_ros.robot.protocol import (
    Arm,
    Disarm,
    Heartbeat,
    Home,
    Latch,
    Message,
    Mode,
    Reply,
)
from sqil_ros.robot.supervisor import Supervisor

_NICENESS = -5
_PENDING = 'The robot worker is still starting; wait for robot/safety.'


class RobotNode(Node):
    """Topics and services; decisions are in ``sqil_ros.safety`` and ``sqil_ros.robot``."""

    def __init__(self) -> None:
        """Declare parameters, start the worker, disarmed."""
        super().__init__('ur5_robot')
        self._params = robot_parameters.declare(self)
        self._limits = self._params.worker.limits
        self._dry_run = self._params.dry_run
        self._commander = Commander(self._limits, self._params.contract.action_delay_s)
        self._supervisor = Supervisor(self._params.worker)
        self._publisher = RobotPublisher(self, self._limits.frame)
        self._reporter = RobotReporter(self, self._params.worker.host, self._commander)
        self._numbers = count(1)
        self._waiting: dict[int, Future] = {}
        self._resetting: Future | None = None
        self._commanders = 0
        self._pressed = False
        self._create_subscriptions()
        self._create_services()
        go_first(_NICENESS)
        self._supervisor.start()
        self.create_timer(1.0 / self._params.state_hz, self._tick)
        self.create_timer(1.0, self._reporter.publish)

    def close(self) -> None:
        """End the worker: it brakes and stops the program."""
        self._supervisor.close()

    @property
    def _mode(self) -> Mode:
        if self._supervisor.fault is not None:
            return Mode.FAULT
        state = self._supervisor.state
        return Mode.DISARMED if state is None else Mode(state.mode)

    # ---- topics ----------------------------------------------------------------------------

    def _create_subscriptions(self) -> None:
        self.create_subscription(
            EndEffectorAction,
            self._params.action_topic,
            self._on_action,
            _with_lease(self._params.action_lease_s),
            event_callbacks=SubscriptionEventCallbacks(liveliness=self._on_liveliness),
        )
        if self._params.deadman_topic:
            self.create_subscription(Bool, self._params.deadman_topic, self._on_deadman, COMMAND)

    def _on_action(self, message: EndEffectorAction) -> None:
        now_s, ros_s = time.monotonic(), messages.seconds(self._now().to_msg())
        # The lease counts the living. Discovery would count a killed publisher for 20 s more.
        commanders = (
            max(1, self._commanders)
            if self._params.action_lease_s
            else self.count_publishers(self._params.action_topic)
        )
        order = self._commander.on_action(messages.action_from(message), ros_s, now_s, commanders)
        if order is not None:
            self._supervisor.send(order)
        result = self._commander.last
        if result is not None and not result.accepted and not isinstance(order, Latch):
            self.get_logger().warning(
                f'Action {message.sequence} dropped: {result.message}', throttle_duration_sec=1.0
            )

    def _on_liveliness(self, event: QoSLivelinessChangedInfo) -> None:
        self._commanders = event.alive_count
        self.get_logger().info(
            f'Policies on {self._params.action_topic}: {event.alive_count} alive, '
            f'{event.not_alive_count} silent.'
        )

    def _on_deadman(self, message: Bool) -> None:
        self._pressed = message.data

    def _tick(self) -> None:
        """Exchange news with the worker and publish what is new."""
        alive = self._commanders > 0 or not self._params.action_lease_s
        self._supervisor.send(Heartbeat(alive, self._pressed))
        self._pressed = False  # until the next message says so again
        for reply in self._supervisor.poll():
            if isinstance(reply, Reply) and reply.request in self._waiting:
                self._waiting.pop(reply.request).set_result((reply.ok, reply.message))
        state = self._supervisor.state
        if state is None:
            self._commander.on_state(None)
        elif self._publisher.is_new(state):
            self._commander.on_state(state)
            target = self._commander.target_vector or state.target
            self._publisher.publish(state, target, self._commander.gripper)
        self._settle()
        self._reporter.update(self._mode, self._supervisor, self._dry_run)

    # ---- services --------------------------------------------------------------------------

    def _create_services(self) -> None:
        # Answers that wait for the worker must not keep the timers from running.
        group = ReentrantCallbackGroup()
        for name, callback in (
            ('arm', self._on_arm),
            ('stop', self._on_stop),
            ('home', self._on_home),
            ('reset_fault', self._on_reset),
        ):
            self.create_service(Trigger, f'~/{name}', callback, callback_group=group)
        self.create_service(SetBool, '~/dry_run', self._on_dry_run, callback_group=group)

    async def _on_arm(self, request: Trigger.Request, response: Trigger.Response) -> object:
        return await self._answer(response, lambda n: Arm(n, self._dry_run))

    async def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> object:
        return await self._answer(response, Disarm)

    async def _on_home(self, request: Trigger.Request, response: Trigger.Response) -> object:
        if self._dry_run:
            response.success = False
            response.message = 'This is a dry run: nothing moves. Call dry_run with false first.'
            return response
        return await self._answer(response, Home)

    async def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> object:
        if self._supervisor.fault is None:
            response.success, response.message = True, 'There is no fault.'
            return response
        self.get_logger().info('Resetting on request')
        self._give_up_waiting('The robot is being reset.')
        self._resetting = Future()
        self._supervisor.start(recover=True)
        response.success, response.message = await self._resetting
        return response

    def _on_dry_run(self, request: SetBool.Request, response: SetBool.Response) -> object:
        if self._mode not in (Mode.DISARMED, Mode.FAULT):
            response.message = f'The robot is in mode {self._mode.name}; call stop first.'
            return response
        self._dry_run = request.data
        response.success = True
        response.message = 'dry run' if request.data else 'motion allowed once armed'
        self.get_logger().warning(f'Set by service: {response.message}')
        return response

    async def _answer(
        self, response: Trigger.Response, order: Callable[[int], Message]
    ) -> Trigger.Response:
        """Pass an order to the worker and wait for its reply."""
        number = next(self._numbers)
        if self._supervisor.fault is not None:
            response.message = f'{self._supervisor.fault.value}: call reset_fault first.'
        elif self._supervisor.state is None:
            response.message = _PENDING
        else:
            self._waiting[number] = Future()
            self._supervisor.send(order(number))
            response.success, response.message = await self._waiting[number]
        return response

    def _settle(self) -> None:
        """Answer those who wait for what will not come any more, or has come to pass."""
        fault = self._supervisor.fault
        if self._resetting is not None and (fault or self._supervisor.state):
            outcome = (fault is None, self._supervisor.message or 'disarmed')
            self._resetting.set_result(outcome)
            self._resetting = None
        if fault is not None:
            self._give_up_waiting(f'{fault.value}: {self._supervisor.message}')

    def _give_up_waiting(self, why: str) -> None:
        while self._waiting:
            self._waiting.popitem()[1].set_result((False, why))

    def _now(self) -> Time:
        return self.get_clock().now()


def _with_lease(lease_s: float) -> QoSProfile:
    """The actions' quality of service, asking for ``lease_s`` of liveliness."""
    wanted = QoSProfile(depth=ACTION.depth, history=ACTION.history, reliability=ACTION.reliability)
    if lease_s > 0.0:
        wanted.liveliness = LivelinessPolicy.AUTOMATIC
        wanted.liveliness_lease_duration = Duration(seconds=lease_s)
    return wanted


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(RobotNode, args)


if __name__ == '__main__':
    sys.exit(main())
