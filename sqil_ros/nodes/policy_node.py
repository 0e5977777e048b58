# SPDX-License-Identifier: Apache-2.0
"""``/vla_policy``: images, robot state and an instruction in, end-effector actions out.

Lifecycle: *configure* loads the policy and makes it prove itself, *activate* lets it act,
*deactivate* makes it stop acting, *cleanup* frees its memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn as Result
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image as ImageMessage
from std_msgs.msg import Float64, String

from sqil_ros.align import Sample
from sqil_ros.contract import Camera
from sqil_ros.errors import ObservationError, SqilError
from sqil_ros.inference import InferenceThread
from sqil_ros.msg import EndEffectorAction, EpisodeEvent
from sqil_ros.nodes import policy_messages as messages
from sqil_ros.nodes import policy_parameters as parameters
from sqil_ros.nodes.action_qos import ACTION
from sqil_ros.nodes.policy_reporter import PolicyReporter
from sqil_ros.nodes.qos import COMMAND, LATCHED, SENSOR, STATE
from sqil_ros.nodes.run import give_up, run
from sqil_ros.nodes.saliency_publisher import SaliencyPublisher
from sqil_ros.observation import GRIPPER, TARGET_GRIPPER, TARGET_POSE, TCP_POSE
from sqil_ros.policy_loop import Step
from sqil_ros.policy_session import PolicySession
from sqil_ros.priority import go_first
from sqil_ros.quant.swap import FAILED

_NICENESS = -4


class PolicyNode(LifecycleNode):
    """Topics and lifecycle; the decisions are in ``sqil_ros.policy_loop``."""

    def __init__(self) -> None:
        """Declare the parameters; everything else waits for *configure*."""
        super().__init__('vla_policy')
        parameters.declare(self)
        self._session: PolicySession | None = None
        self._thread: InferenceThread | None = None
        self._episode_id = ''
        self._sequence = 0
        self._inputs: list[Subscription] = []
        self._reporter = PolicyReporter(self)
        self._saliency = SaliencyPublisher(self)
        self._action = self.create_lifecycle_publisher(EndEffectorAction, '~/action', ACTION)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        go_first(_NICENESS)
        self.create_timer(1.0, self._every_second)
        if parameters.autostart(self):
            self._starter = self.create_timer(0.0, self._start)

    # ---- lifecycle -------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> Result:
        """Load the policy, run its self-test, subscribe."""
        try:
            session = PolicySession(parameters.read(self), self._now_ns, self._reporter.swapped)
        except Exception as error:  # noqa: BLE001  rclpy would swallow it without a word
            self._reporter.fail(f'Not configured: {type(error).__name__}: {error}')
            return Result.FAILURE
        self._session = session
        self._subscribe(session)
        self.get_logger().info(
            f'{session.description.name} at {session.swap.active}: self-test passed, '
            f'{session.self_test.latency_ms:.0f} ms a step'
        )
        return self._enter('inactive', super().on_configure(state))

    def on_activate(self, state: LifecycleState) -> Result:
        """Begin to act."""
        assert self._session is not None
        self._sequence = 0
        self._session.loop.restart(count_anew=True)
        result = super().on_activate(state)
        self._thread = InferenceThread(
            self._session.loop, self._session.take_policy, self._on_step, self._on_broken
        )
        self._thread.start()
        self._saliency.start(self._session)
        return self._enter('active', result)

    def on_deactivate(self, state: LifecycleState) -> Result:
        """Finish the present step and act no more."""
        self._stop_threads()
        return self._enter('inactive', super().on_deactivate(state))

    def on_cleanup(self, state: LifecycleState) -> Result:
        """Free the policy."""
        self._forget_session()
        return self._enter('unconfigured', super().on_cleanup(state))

    def on_shutdown(self, state: LifecycleState) -> Result:
        """Stop acting and free the policy, from whatever state."""
        self.close()
        return self._enter('finalized', super().on_shutdown(state))

    def close(self) -> None:
        """Stop the threads."""
        self._stop_threads()
        self._forget_session()

    def _start(self) -> None:
        self._starter.cancel()
        if self.trigger_configure() != Result.SUCCESS or self.trigger_activate() != Result.SUCCESS:
            give_up(self, self._reporter.message)

    def _enter(self, state: str, result: Result) -> Result:
        self._reporter.enter(state, self._session)
        return result

    def _stop_threads(self) -> None:
        if self._thread is not None and not self._thread.stop():
            self.get_logger().error('The policy does not return from its present step')
        self._thread = None
        self._saliency.stop()

    def _forget_session(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        if self._session is not None:
            self._session.close()
        self._session = None

    # ---- inputs ----------------------------------------------------------------------------

    def _subscribe(self, session: PolicySession) -> None:
        for camera in session.contract.cameras:
            self._listen(ImageMessage, camera.topic, partial(self._on_image, camera), SENSOR)
        for topic in (TCP_POSE, TARGET_POSE):
            self._listen(PoseStamped, topic, partial(self._on_pose, topic), STATE)
        for topic in (GRIPPER, TARGET_GRIPPER):
            self._listen(Float64, topic, partial(self._on_opening, topic), STATE)
        self._listen(String, 'instruction', self._on_instruction, LATCHED)
        self._listen(EpisodeEvent, 'episode/event', self._on_episode, COMMAND)

    def _listen(self, kind: type, topic: str, callback: Callable, qos: object) -> None:
        self._inputs.append(self.create_subscription(kind, topic, callback, qos))

    def _on_image(self, camera: Camera, message: ImageMessage) -> None:
        assert self._session is not None
        try:
            sample = messages.image_sample(self._session.contract, camera, message)
            self._session.loop.push_image(camera.name, sample)
        except ObservationError as error:
            self._session.loop.refuse_image(camera.name, error)
            self._reporter.complain(str(error))

    def _on_pose(self, topic: str, message: PoseStamped) -> None:
        assert self._session is not None
        try:
            sample = messages.pose_sample(self._session.contract, message)
        except ObservationError as error:
            self._reporter.complain(str(error))
            return
        self._session.loop.push(topic, sample)

    def _on_opening(self, topic: str, message: Float64) -> None:
        assert self._session is not None
        self._session.loop.push(topic, Sample(self._now_ns(), message.data))

    def _on_instruction(self, message: String) -> None:
        assert self._session is not None
        self._session.loop.set_instruction(message.data)
        self._reporter.publish_status()

    def _on_episode(self, message: EpisodeEvent) -> None:
        assert self._session is not None
        started = message.kind == EpisodeEvent.START
        self._episode_id = message.episode_id if started else ''
        if started:
            self._session.loop.restart()

    # ---- the inference thread's side -------------------------------------------------------

    def _on_step(self, step: Step) -> None:
        session = self._session
        assert session is not None
        if step.actions is None:
            self._reporter.complain(step.refusal)
            return
        now_ns = self._now_ns()
        self._action.publish(
            messages.action_message(
                session.contract, step, now_ns, self._sequence, self._episode_id
            )
        )
        self._sequence += 1
        session.record(step, (self._now_ns() - step.stamp_ns) / 1e6)
        self._reporter.clear()
        self._saliency.offer(step)

    def _on_broken(self, error: Exception) -> None:
        give_up(self, f'The policy broke and acts no more: {error!r}')

    # ---- profile ---------------------------------------------------------------------------

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            if change.name == parameters.PROFILE and self._session is not None:
                try:
                    self._session.request_profile(change.value)
                except SqilError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _every_second(self) -> None:
        if self._session is not None:
            swap = self._session.swap
            claimed = self.get_parameter(parameters.PROFILE).value
            if swap.state == FAILED and claimed == swap.requested:
                # The parameter must not claim a profile that does not act.
                self.set_parameters([Parameter(parameters.PROFILE, value=swap.active)])
        self._reporter.publish()

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds


def main() -> int:
    """Run the node."""
    return run(PolicyNode)


if __name__ == '__main__':
    sys.exit(main())
