# SPDX-License-Identifier: Apache-2.0
"""The robot's state as ROS messages, and actions out of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from sensor_msgs.msg import JointState

from sqil_ros.msg import EndEffectorAction, SafetyStatus
from sqil_ros.robot.commander import ActionMessage
from sqil_ros.robot.protocol import Mode, RobotState, Vector
from sqil_ros.safety import Check
from sqil_ros.types import Action

JOINT_NAMES = (
    'shoulder_pan_joint',
    'shoulder_lift_joint',
    'elbow_joint',
    'wrist_1_joint',
    'wrist_2_joint',
    'wrist_3_joint',
)
_LEVELS = {
    Mode.HOLD: DiagnosticStatus.WARN,
    Mode.FAULT: DiagnosticStatus.ERROR,
}


def action_from(message: EndEffectorAction) -> ActionMessage:
    """What the filter needs of an action message."""
    return ActionMessage(
        action=Action(np.array(message.delta, dtype=float), float(message.gripper)),
        sequence=message.sequence,
        frame=message.header.frame_id,
        episode=message.episode_id,
        published_s=seconds(message.header.stamp),
        observed_s=seconds(message.observation_stamp),
    )


def seconds(stamp: Time) -> float:
    """A stamp as seconds."""
    return float(stamp.sec + 1e-9 * stamp.nanosec)


def joint_state(state: RobotState, stamp: Time) -> JointState:
    """Six arm joints, by name."""
    message = JointState(name=list(JOINT_NAMES))
    message.header.stamp = stamp
    message.position = list(state.joints)
    message.velocity = list(state.joint_speeds)
    return message


def pose_stamped(pose: Vector, frame: str, stamp: Time) -> PoseStamped:
    """Seven numbers x y z qx qy qz qw."""
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = stamp, frame
    place, turn = message.pose.position, message.pose.orientation
    place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w = pose
    return message


def twist_stamped(twist: Vector, frame: str, stamp: Time) -> TwistStamped:
    """Six numbers, linear then angular."""
    message = TwistStamped()
    message.header.stamp, message.header.frame_id = stamp, frame
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = twist
    return message


def wrench_stamped(wrench: Vector, frame: str, stamp: Time) -> WrenchStamped:
    """Six numbers, force then torque, at the TCP in the axes of ``frame``."""
    message = WrenchStamped()
    message.header.stamp, message.header.frame_id = stamp, frame
    force, torque = message.wrench.force, message.wrench.torque
    force.x, force.y, force.z, torque.x, torque.y, torque.z = wrench
    return message


def safety_status(
    mode: Mode,
    fault: str,
    text: str,
    counts: tuple[int, ...],
    state: RobotState | None,
    dry_run: bool,
) -> SafetyStatus:
    """The latched state of the safety filter, without its stamp."""
    return SafetyStatus(
        # Homing is the robot's own motion: no commands are taken meanwhile.
        mode=int(Mode.DISARMED if mode is Mode.HOMING else mode),
        fault=fault,
        message=text,
        check_names=[check.label for check in Check],
        check_counts=[counts[check] for check in Check],
        robot_mode=-1 if state is None else state.robot_mode,
        safety_mode=-1 if state is None else state.safety_mode,
        runtime_state=-1 if state is None else state.runtime_state,
        dry_run=dry_run,
    )


def diagnostics(
    name: str, mode: Mode, text: str, values: Mapping[str, object], stamp: Time
) -> DiagnosticArray:
    """One status with what there is to know at 1 Hz."""
    message = DiagnosticArray()
    message.header.stamp = stamp
    message.status = [
        DiagnosticStatus(
            level=_LEVELS.get(mode, DiagnosticStatus.OK),
            name=name,
            hardware_id='ur5e',
            message=text or mode.name.lower(),
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
    ]
    return message
