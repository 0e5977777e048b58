# SPDX-License-Identifier: Apache-2.0
"""The operator's side of the graph, for programs: instruct, arm, stop, swap, and watch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from std_msgs.msg import String
from std_srvs.srv import Trigger

from sqil_ros.errors import ProfileError, RobotFault, SqilError
from sqil_ros.msg import EpisodeEvent, PolicyStatus, SafetyStatus
from sqil_ros.nodes.policy_parameters import PROFILE
from sqil_ros.nodes.qos import EVENTS, LATCHED

_SERVICE_TIMEOUT_S = 30.0
_POLL_S = 0.05


class OperatorTimeout(SqilError):
    """A node did not answer, or a state was not reached, in time."""


class Operator:
    """Talks to one policy node and one robot node. Use it as a context manager.

    Its node spins on a thread of its own, so that methods may block their caller.

    Attributes:
        node: for further subscriptions; their callbacks run on the spinning thread.
        policy: newest status of the policy node, ``None`` before the first.
        safety: newest state of the robot node, ``None`` before the first.
    """

    def __init__(
        self, name: str = 'operator', namespace: str = '', context: Context | None = None
    ) -> None:
        """Create the node; :func:`rclpy.init` must have been called."""
        self.node = rclpy.create_node(name, namespace=namespace, context=context)
        self.policy: PolicyStatus | None = None
        self.safety: SafetyStatus | None = None
        node = self.node
        self._instruction = node.create_publisher(String, 'instruction', LATCHED)
        self._events = node.create_publisher(EpisodeEvent, 'episode/event', EVENTS)
        node.create_subscription(PolicyStatus, 'vla_policy/status', self._on_policy, LATCHED)
        node.create_subscription(SafetyStatus, 'robot/safety', self._on_safety, LATCHED)
        self._orders = {
            order: node.create_client(Trigger, f'ur5_robot/{order}')
            for order in ('arm', 'stop', 'home', 'reset_fault')
        }
        self._parameters = node.create_client(SetParameters, 'vla_policy/set_parameters')
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name='operator', daemon=True)

    def __enter__(self) -> Operator:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(5.0)
        self.node.destroy_node()

    # ---- orders ----------------------------------------------------------------------------

    def instruct(self, instruction: str) -> None:
        """Say what to do."""
        self._instruction.publish(String(data=instruction))

    def announce(self, kind: int, episode_id: str, **fields: Any) -> None:
        """Publish the beginning or the end of an episode; fields as in ``EpisodeEvent``."""
        event = EpisodeEvent(kind=kind, episode_id=episode_id, **fields)
        event.header.stamp = self.node.get_clock().now().to_msg()
        self._events.publish(event)

    def order(self, name: str) -> None:
        """Call a service of the robot node: ``arm``, ``stop``, ``home`` or ``reset_fault``.

        Raises:
            RobotFault: it was refused.
            OperatorTimeout: it was not answered.
        """
        response = self._call(self._orders[name], Trigger.Request())
        if not response.success:
            raise RobotFault(f'{name}: {response.message}')

    def set_profile(self, profile: str) -> None:
        """Ask for another precision; returns when the request is accepted.

        Raises:
            ProfileError: it was refused.
            OperatorTimeout: it was not answered.
        """
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=profile)
        parameter = ParameterMessage(name=PROFILE, value=value)
        response = self._call(self._parameters, SetParameters.Request(parameters=[parameter]))
        if not response.results[0].successful:
            raise ProfileError(response.results[0].reason)

    # ---- watching --------------------------------------------------------------------------

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        """Block until ``condition`` holds.

        Raises:
            OperatorTimeout: it does not after ``timeout_s``; ``what`` completes the message.
        """
        end_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end_s:
                raise OperatorTimeout(
                    f'{what} not within {timeout_s:.0f} s (policy: {_last_word(self.policy)}; '
                    f'robot: {_last_word(self.safety)}); look at the logs of the nodes.'
                )
            time.sleep(_POLL_S)

    def wait_until_ready(self, timeout_s: float = 120.0) -> None:
        """Block until the policy acts and the robot node has a robot."""
        self.wait_for(
            lambda: self.policy is not None and self.policy.state == 'active',
            'An active policy',
            timeout_s,
        )
        self.wait_for(
            lambda: self.safety is not None and self.safety.robot_mode > 0,
            'A connected robot',
            timeout_s,
        )

    def _on_policy(self, message: PolicyStatus) -> None:
        self.policy = message

    def _on_safety(self, message: SafetyStatus) -> None:
        self.safety = message

    def _call(self, client: Any, request: Any) -> Any:
        end_s = time.monotonic() + _SERVICE_TIMEOUT_S
        if not client.wait_for_service(_SERVICE_TIMEOUT_S):
            raise OperatorTimeout(f'Nobody offers {client.srv_name}; start the node that does.')
        future = client.call_async(request)
        while not future.done():
            if time.monotonic() > end_s:
                raise OperatorTimeout(
                    f'{client.srv_name} did not answer within {_SERVICE_TIMEOUT_S:.0f} s.'
                )
            time.sleep(0.01)
        return future.result()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return


def _last_word(status: PolicyStatus | SafetyStatus | None) -> str:
    return 'silent' if status is None else status.message or 'nothing to complain'
