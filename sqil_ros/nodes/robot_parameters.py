# SPDX-License-Identifier: Apache-2.0
"""Parameters of the robot node: declared with description and range, read into one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from sqil_ros.contract import DEFAULT_PATH, Contract
from sqil_ros.errors import ContractMismatch, ParameterError
from sqil_ros.robot.settings import WorkerSettings
from sqil_ros.safety import Box, SafetyLimits
from sqil_ros.safety.limits import MOTION_CEILINGS, RANGES
from sqil_ros.sim.limits import SIMULATED, TABLE_Z, WORKSPACE
from sqil_ros.trajectory import MotionLimits


@dataclass(frozen=True)
class RobotParams:
    """What the robot node works with.

    Attributes:
        worker: settings of the worker process.
        contract: action delay and rate.
        dry_run: whether arming only computes.
        action_topic: where actions come from.
        action_lease_s: liveliness that is asked of their publisher; 0 asks for none.
        deadman_topic: where the enabling switch reports; empty where none is used.
        state_hz: rate of the published state.
    """

    worker: WorkerSettings
    contract: Contract
    dry_run: bool
    action_topic: str
    action_lease_s: float
    deadman_topic: str
    state_hz: float


def declare(node: Node) -> RobotParams:
    """Declare and read every parameter.

    Raises:
        rclpy.exceptions.ParameterException: a start value has another type or is out of range.
        ParameterError: values do not fit together.
        ContractMismatch: the contract is missing, malformed or of another arm.
    """
    read = _Reader(node)
    path = read('contract', '', 'Path of the contract.yaml of this robot; empty for ours.')
    contract = Contract.load(Path(path).expanduser() if path else DEFAULT_PATH)
    ur_type = read('ur_type', '', "Model of the arm; empty for the contract's.")
    if ur_type not in ('', contract.robot):
        raise ContractMismatch(
            f'ur_type is {ur_type!r}, but the contract is of a {contract.robot!r}; start with '
            'the contract.yaml of this arm.'
        )
    use_sim = read('use_sim', False, 'The robot is simulated: its workspace is known.')
    rate_hz = read('rate_hz', 125.0, 'Cycles a second of the worker.', (50.0, 500.0))
    state_hz = read('state_hz', 62.5, 'Rate of the published robot state.', (10.0, 125.0))
    deadman_topic = read(
        'deadman_topic', '', 'std_msgs/Bool of an enabling switch, true at 10 Hz or more.'
    )
    worker = WorkerSettings(
        host=read('robot_ip', '127.0.0.2', 'Address of the UR controller.'),
        limits=_limits(read, contract, use_sim),
        home=contract.home,
        tcp_offset=contract.tcp_offset,
        rate_hz=rate_hz,
        state_every=max(1, round(rate_hz / state_hz)),
        payload_kg=read('payload.mass', 1.0, 'Mass [kg] at the flange.', (0.0, 5.0)),
        payload_cog=read.vector('payload.cog', (0.0, 0.0, 0.06), 'Its centre of gravity [m].'),
        home_speed=read('home.speed', 0.5, 'Of the leading joint [rad/s].', (0.05, 1.05)),
        home_acceleration=read('home.acceleration', 0.8, '[rad/s^2].', (0.1, 1.4)),
        servo_lookahead=read('servo.lookahead', 0.1, 'Of servoL [s].', (0.03, 0.2)),
        servo_gain=read('servo.gain', 300.0, 'Of servoL.', (100.0, 2000.0)),
        brake=read('brake', 4.0, 'Deceleration [m/s^2] of every stop.', (2.0, 10.0)),
        watchdog_hz=read(
            'watchdog_hz', 10.0, 'The controller stops when it hears less often.', (5.0, 50.0)
        ),
        gripper=read('gripper', 'robotiq', "'robotiq' (socket of its URCap) or 'none'."),
        gripper_force=read('gripper_force', 0.2, 'Share of its largest force.', (0.0, 0.4)),
        deadman=bool(deadman_topic),
        probe_s=read('probe_s', 2.0, 'Patience [s] with an address.', (0.1, 30.0)),
    )
    return RobotParams(
        worker=worker,
        contract=contract,
        dry_run=read('dry_run', True, 'Compute and publish targets, but send no motion.'),
        action_topic=read('action_topic', 'vla_policy/action', 'Topic of the actions.'),
        action_lease_s=read(
            'action_lease_s',
            0.1,
            'Liveliness [s] asked of the publisher of actions; 0 for publishers without one.',
            (0.0, 2.0),
        ),
        deadman_topic=deadman_topic,
        state_hz=rate_hz / worker.state_every,
    )


class _Reader:
    """Declares a read-only parameter and returns its value."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def __call__(
        self, name: str, default: Any, meaning: str, limits: tuple[float, float] | None = None
    ) -> Any:
        descriptor = ParameterDescriptor(description=meaning, read_only=True)
        if limits is not None:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=limits[0], to_value=limits[1])
            ]
        return self._node.declare_parameter(name, default, descriptor).value

    def vector(
        self, name: str, default: Sequence[float], meaning: str, lengths: int = 3
    ) -> tuple[float, ...]:
        """A list of ``lengths`` numbers, or of a multiple where the default is empty."""
        descriptor = ParameterDescriptor(description=meaning, read_only=True)
        kind: Any = list(default) if default else Parameter.Type.DOUBLE_ARRAY
        value = self._node.declare_parameter(name, kind, descriptor).value or ()
        if len(value) % lengths or (default and len(value) != lengths):
            raise ParameterError(f'{name} = {list(value)} needs {lengths} numbers each.')
        return tuple(float(number) for number in value)


def _limits(read: _Reader, contract: Contract, use_sim: bool) -> SafetyLimits:
    # The emulator shares its processor with cameras and policy; a real controller does not.
    defaults = SafetyLimits(**SIMULATED) if use_sim else SafetyLimits()
    figures = {
        name: read(f'limits.{name}', getattr(defaults, name), meaning, (low, high))
        for name, (low, high, meaning) in RANGES.items()
    }
    motion = {
        name: read(
            f'limits.{name}',
            getattr(defaults.motion, name),
            f'Largest {name.replace("_", " ")} of the TCP [m or rad, s].',
            (0.001, ceiling),
        )
        for name, ceiling in MOTION_CEILINGS.items()
    }
    low = read.vector('workspace.low', (), 'Lowest corner x y z [m] in base_link.')
    high = read.vector('workspace.high', (), 'Highest corner x y z [m] in base_link.')
    boxes = read.vector(
        'keep_out', (), 'Boxes as low x y z, high x y z [m], one after another.', 6
    )
    table_z = read.vector('table_z', (), 'Height [m] of the table; empty for none.', 1)
    if bool(low) != bool(high):
        raise ParameterError('workspace.low and workspace.high belong together; set both.')
    workspace = _box((*low, *high)) if low else None
    table = table_z[0] if table_z else None
    if use_sim and workspace is None:
        workspace, table = WORKSPACE, TABLE_Z
    return SafetyLimits.for_contract(
        contract,
        workspace=workspace,
        keep_out=tuple(_box(boxes[k : k + 6]) for k in range(0, len(boxes), 6)),
        table_z=table,
        motion=MotionLimits(**motion),
        **figures,
    )


def _box(numbers: Sequence[float]) -> Box:
    x0, y0, z0, x1, y1, z1 = numbers
    return Box((x0, y0, z0), (x1, y1, z1))
