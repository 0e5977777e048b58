# SPDX-License-Identifier: Apache-2.0
"""Parameters of the policy node: declared with description and range, read into one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from sqil_ros.contract import DEFAULT_PATH, Contract
from sqil_ros.policy_session import PolicyParams

PROFILE = 'quantization.profile'


@dataclass(frozen=True)
class _Declaration:
    """What ``ros2 param describe`` shows."""

    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    read_only: bool = True

    def descriptor(self) -> ParameterDescriptor:
        descriptor = ParameterDescriptor(description=self.description, read_only=self.read_only)
        if isinstance(self.default, float) and self.minimum is not None:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=self.minimum, to_value=self.maximum)
            ]
        elif isinstance(self.default, int) and self.minimum is not None:
            descriptor.integer_range = [
                IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum or 0))
            ]
        return descriptor


_DECLARATIONS = {
    'contract': _Declaration(
        '', 'Path of the contract.yaml of this robot; empty for the one of the package.'
    ),
    'checkpoint': _Declaration(
        '',
        'Directory of the trained policy, or builtin:image_mean or builtin:circle, which need '
        'no weights.',
    ),
    PROFILE: _Declaration(
        'fp',
        'Precision of the weights: fp, or <width>_<method> such as int4_rtn. May be set while '
        'the arm works; the policy swaps between two control ticks.',
        read_only=False,
    ),
    'device': _Declaration('cpu', 'Torch device: cpu, cuda or cuda:<index>.'),
    'threads': _Declaration(1, 'CPU threads of one inference step.', 1, 64),
    'engine': _Declaration(
        'auto',
        'Who computes: auto for native code (on a GPU a CUDA graph) where it can, torch for '
        'torch alone.',
    ),
    'camera_rate_hz': _Declaration(
        15.0, 'Rate of the first camera; half a camera period is the slack of a tick.', 1.0, 240.0
    ),
    'image_timeout_ms': _Declaration(
        300.0, 'Age of an image above which the policy refuses to act on it.', 1.0, 10000.0
    ),
    'sample_timeout_ms': _Declaration(
        300.0,
        'How far the other camera and the robot state may lag behind the image.',
        150.0,  # an opening at rest comes every 100 ms
        10000.0,
    ),
    'patience_ms': _Declaration(
        30.0, 'How long an image waits for samples of the same moment.', 0.0, 1000.0
    ),
    'chunk_steps': _Declaration(
        0,
        'Actions of a chunk that are executed, one a tick, before the policy is asked again; 0 '
        'for all that it answers with. Policies of action tokens answer with one.',
        0,
        100,
    ),
    'latency_window': _Declaration(
        500, 'Number of control ticks that the latency percentiles cover.', 1, 100000
    ),
    'saliency.period_s': _Declaration(
        0.0,
        'Least time [s] between two pictures on ~/saliency, which are computed while somebody '
        'subscribes; 0 for never.',
        0.0,
        3600.0,
    ),
    'saliency.grid': _Declaration(
        4, 'Cells along a side of a picture; N of them cost 2 + 2 N^2 answers.', 1, 16
    ),
    'saliency.device': _Declaration(
        'cpu', 'Torch device of ~/saliency; a GPU is shared with the policy that acts.'
    ),
    'autostart': _Declaration(
        False,
        'Configure and activate without being asked; the process ends if that fails. For '
        'starters without lifecycle events.',
    ),
}


def read(node: Node) -> PolicyParams:
    """Read the declared parameters.

    Raises:
        ParameterError: a value is missing or out of range.
        ContractMismatch: the contract is missing or malformed.
    """
    path = _value(node, 'contract')
    return PolicyParams(
        contract=Contract.load(Path(path).expanduser() if path else DEFAULT_PATH),
        checkpoint=_value(node, 'checkpoint'),
        profile=_value(node, PROFILE),
        device=_value(node, 'device'),
        threads=_value(node, 'threads'),
        engine=_value(node, 'engine'),
        camera_rate_hz=_value(node, 'camera_rate_hz'),
        image_timeout_ms=_value(node, 'image_timeout_ms'),
        sample_timeout_ms=_value(node, 'sample_timeout_ms'),
        patience_ms=_value(node, 'patience_ms'),
        chunk_steps=_value(node, 'chunk_steps'),
        latency_window=_value(node, 'latency_window'),
        saliency_period_s=_value(node, 'saliency.period_s'),
        saliency_grid=_value(node, 'saliency.grid'),
        saliency_device=_value(node, 'saliency.device'),
    )


def declare(node: Node) -> None:
    """Declare every parameter.

    Raises:
        rclpy.exceptions.ParameterException: a start value has another type or is out of range.
    """
    for name, declaration in _DECLARATIONS.items():
        node.declare_parameter(name, declaration.default, declaration.descriptor())


def autostart(node: Node) -> bool:
    """Whether the node brings itself up."""
    return bool(_value(node, 'autostart'))


def _value(node: Node, name: str) -> Any:
    return node.get_parameter(name).value
