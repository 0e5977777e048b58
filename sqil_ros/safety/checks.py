# SPDX-License-Identifier: Apache-2.0
"""Names of the 25 checks, of what a check may do and of the faults that it may latch.

The numbers are those of the table in docs/safety.md, which a test keeps in step with this file.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import NamedTuple


class Check(IntEnum):
    """One row of the table; ``label`` is its name on the wire."""

    MALFORMED = 1
    COMMAND_AGE = 2
    OBSERVATION_AGE = 3
    SEQUENCE = 4
    ROBOT_STATE = 5
    DEADMAN = 6
    STEP = 7
    TCP_SPEED = 8
    TCP_ACCELERATION = 9
    WORKSPACE = 10
    ORIENTATION = 11
    REACH = 12
    KINEMATICS = 13
    JOINT_SPEED = 14
    SINGULARITY = 15
    TRACKING = 16
    CONTACT = 17
    GRIPPER = 18
    PROGRESS = 19
    EPISODE = 20
    PROCESS = 21
    CONTROLLER_STOP = 22
    START_UP = 23
    SHUTDOWN = 24
    COMMANDER = 25

    @property
    def label(self) -> str:
        """Lower-case name, e.g. ``command_age``."""
        return self.name.lower()


class Verdict(IntEnum):
    """What happens to an action or to a cycle, mildest first."""

    PASS = 0
    CLAMP = 1
    """The action was shortened to what is allowed."""
    DROP = 2
    """The action is ignored and counted; the arm goes on to the target it already has."""
    HOLD = 3
    """The arm comes to rest softly, until fresh commands arrive."""
    BRAKE = 4
    """The arm brakes at once and rests until fresh commands arrive."""
    STOP = 5
    """The arm brakes and nothing moves before an explicit reset."""


class Fault(str, Enum):
    """Why the arm rests until somebody resets it; the value is the name on the wire."""

    MALFORMED_ACTION = 'malformed_action'
    STALE_COMMAND = 'stale_command'
    STALE_OBSERVATION = 'stale_observation'
    OUT_OF_SEQUENCE = 'out_of_sequence'
    SECOND_COMMANDER = 'second_commander'
    JUMP = 'jump'
    UNREACHABLE_POSE = 'unreachable_pose'
    SINGULARITY = 'singularity'
    STUCK = 'stuck'
    OSCILLATION = 'oscillation'
    EPISODE_LIMIT = 'episode_limit'
    POLICY_LOST = 'policy_lost'
    DEADMAN_RELEASED = 'deadman_released'
    PROTECTIVE_STOP = 'protective_stop'
    EMERGENCY_STOP = 'emergency_stop'
    ROBOT_NOT_READY = 'robot_not_ready'
    PROGRAM_STOPPED = 'program_stopped'
    CONTROLLER_FROZEN = 'controller_frozen'
    LINK_LOST = 'link_lost'
    JOINT_SPEED = 'joint_speed'
    TRACKING_ERROR = 'tracking_error'
    CONTACT_FORCE = 'contact_force'
    GRIPPER_LOST = 'gripper_lost'
    NODE_LOST = 'node_lost'
    WORKER_LOST = 'worker_lost'
    WORKER_SILENT = 'worker_silent'
    ROBOT_UNREACHABLE = 'robot_unreachable'


FAULT_OF_DROPS = {
    Check.MALFORMED: Fault.MALFORMED_ACTION,
    Check.COMMAND_AGE: Fault.STALE_COMMAND,
    Check.OBSERVATION_AGE: Fault.STALE_OBSERVATION,
    Check.SEQUENCE: Fault.OUT_OF_SEQUENCE,
    Check.STEP: Fault.JUMP,
    Check.KINEMATICS: Fault.UNREACHABLE_POSE,
    Check.SINGULARITY: Fault.SINGULARITY,
    Check.COMMANDER: Fault.SECOND_COMMANDER,
}
"""The fault that actions dropped in a row latch, by the check that dropped the last of them."""


class Stop(NamedTuple):
    """Why the arm must stop: the check that saw it, the fault it latches, value and mend."""

    check: Check
    fault: Fault
    message: str
