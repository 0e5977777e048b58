# SPDX-License-Identifier: Apache-2.0
"""Parameters of the simulated cameras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node


@dataclass(frozen=True)
class SimCameraParams:
    """See the descriptions below."""

    robot_ip: str
    side_channel_port: int
    camera_hz: float
    height: int
    width: int


def declare(node: Node) -> SimCameraParams:
    """Declare and read every parameter.

    Raises:
        rclpy.exceptions.ParameterException: a start value has another type or is out of range.
    """

    def read(name: str, default: float | str, description: str, **ranges: Any) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=True, **ranges)
        return node.declare_parameter(name, default, descriptor).value

    def whole(low: int, high: int) -> dict[str, list[IntegerRange]]:
        return {'integer_range': [IntegerRange(from_value=low, to_value=high, step=1)]}

    return SimCameraParams(
        robot_ip=read('robot_ip', '127.0.0.2', 'Address of the UR controller emulator.'),
        side_channel_port=read(
            'side_channel_port', 30900, 'Port of its side channel.', **whole(1, 65535)
        ),
        camera_hz=read(
            'camera_hz',
            10.0,
            'Images a second of each camera.',
            floating_point_range=[FloatingPointRange(from_value=1.0, to_value=120.0)],
        ),
        height=read('height', 0, "Rows; 0 for the contract's.", **whole(0, 2160)),
        width=read('width', 0, "Columns; 0 for the contract's.", **whole(0, 3840)),
    )
