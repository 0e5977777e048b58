# SPDX-License-Identifier: Apache-2.0
"""Between the policy's types and the messages on the wire; each function is one message."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image as ImageMessage

from sqil_ros.align import NS_PER_S, Sample
from sqil_ros.contract import Camera, Contract
from sqil_ros.errors import ObservationError
from sqil_ros.geometry import quat_normalize
from sqil_ros.msg import EndEffectorAction, LatencyBreakdown, PolicyStatus
from sqil_ros.policy.wire import LiveSaliency
from sqil_ros.policy_loop import Step
from sqil_ros.policy_session import PolicySession
from sqil_ros.preprocess import image_from_buffer
from sqil_ros.timing import StageLatency
from sqil_ros.types import Pose


def nanoseconds(stamp: Time) -> int:
    """A ROS time as one integer."""
    return stamp.sec * NS_PER_S + stamp.nanosec


def time_message(stamp_ns: int) -> Time:
    """Inverse of :func:`nanoseconds`."""
    return Time(sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)


def image_sample(contract: Contract, camera: Camera, message: ImageMessage) -> Sample:
    """An image with its stamp.

    Raises:
        ObservationError: the contract promises another image.
    """
    image = image_from_buffer(
        contract,
        camera.name,
        message.data,
        height=message.height,
        width=message.width,
        step=message.step,
        encoding=message.encoding,
    )
    return Sample(nanoseconds(message.header.stamp), image)


def pose_sample(contract: Contract, message: PoseStamped) -> Sample:
    """A pose in the contract's frame with its stamp.

    Raises:
        ObservationError: another frame, a value that is not finite, or no rotation.
    """
    if message.header.frame_id != contract.frame:
        raise ObservationError(
            f'A robot pose is given in frame {message.header.frame_id!r}; the contract says '
            f'{contract.frame!r}. Transform it before this topic.'
        )
    p, q = message.pose.position, message.pose.orientation
    position, quaternion = np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])
    norm = float(np.linalg.norm(quaternion))
    if not (np.all(np.isfinite(position)) and 0.9 < norm < 1.1):
        raise ObservationError(
            f'A robot pose has position {position.tolist()} and a quaternion of norm {norm:.3g}; '
            'it must be finite with norm 1. Repair its publisher.'
        )
    return Sample(nanoseconds(message.header.stamp), Pose(position, quat_normalize(quaternion)))


def action_message(
    contract: Contract, step: Step, now_ns: int, sequence: int, episode_id: str
) -> EndEffectorAction:
    """The action of a step; what it plans beyond waits in the loop for the next ticks."""
    assert step.actions is not None
    message = EndEffectorAction(
        sequence=sequence,
        delta=step.actions[0, :6],
        gripper=float(step.actions[0, 6]),
        chunk_index=step.chunk_index,
        observation_stamp=time_message(step.stamp_ns),
        episode_id=episode_id,
        profile=step.profile,
        latency_ms=(now_ns - step.stamp_ns) / 1e6,
    )
    message.header.stamp = time_message(now_ns)
    message.header.frame_id = contract.frame
    return message


def saliency_message(step: Step, saliency: LiveSaliency) -> ImageMessage:
    """The cameras' pictures of a step under their heat maps, with the stamp of the first."""
    height, width, channels = saliency.picture.shape
    message = ImageMessage(
        height=height,
        width=width,
        encoding='rgb8',
        is_bigendian=0,
        step=width * channels,
        data=saliency.picture.tobytes(),  # an ndarray would be copied element by element
    )
    message.header.stamp = time_message(step.stamp_ns)
    return message


def latency_message(summary: Mapping[str, StageLatency], now_ns: int) -> LatencyBreakdown:
    """Percentiles of every stage."""
    stages = summary.values()
    message = LatencyBreakdown(
        stages=list(summary),
        last_ms=[stage.last for stage in stages],
        p50_ms=[stage.p50 for stage in stages],
        p95_ms=[stage.p95 for stage in stages],
        p99_ms=[stage.p99 for stage in stages],
        window=max((stage.count for stage in stages), default=0),
    )
    message.header.stamp = time_message(now_ns)
    return message


def status_message(
    state: str, message: str, session: PolicySession | None, now_ns: int
) -> PolicyStatus:
    """What the node is doing; without a session only its state and why."""
    status = PolicyStatus(state=state, message=message)
    status.header.stamp = time_message(now_ns)
    if session is not None:
        swap, counters = session.swap, session.loop.counters
        status.profile = swap.active
        status.requested_profile = swap.requested
        status.back_end = session.description.back_end
        status.instruction = session.loop.instruction
        status.ticks = counters.ticks
        status.missed_ticks = counters.missed
        status.self_test_ms = session.self_test.latency_ms
        status.weight_bytes = session.description.weight_bytes
    return status


def diagnostic_message(
    name: str, state: str, message: str, session: PolicySession | None, now_ns: int
) -> DiagnosticArray:
    """The same for ``rqt_runtime_monitor``: a warning whenever there is something to say."""
    level = DiagnosticStatus.WARN if message else DiagnosticStatus.OK
    values: dict[str, object] = {'state': state}
    if session is not None:
        counters = session.loop.counters
        values |= {
            'profile': session.swap.active,
            'swap': session.swap.state,
            'ticks': counters.ticks,
            'missed ticks': counters.missed,
        }
        for stage, latency in session.latency().items():
            values[f'{stage} p99 [ms]'] = f'{latency.p99:.1f}'
    status = DiagnosticStatus(
        name=name,
        level=level,
        message=message or state,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = time_message(now_ns)
    return array
