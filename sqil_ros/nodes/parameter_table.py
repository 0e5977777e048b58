# SPDX-License-Identifier: Apache-2.0
"""Every parameter of every node as Markdown, read from the declarations themselves.

python -m sqil_ros.nodes.parameter_table docs/parameters.md
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node

from sqil_ros.nodes import policy_parameters, robot_parameters, sim_camera_parameters
from sqil_ros.nodes.recorder_node import RecorderNode

_HEAD = """\
# Parameters

Made by `python -m sqil_ros.nodes.parameter_table docs/parameters.md`; a test keeps it in step
with the code. `ros2 param describe NODE NAME` says the same of a running node. Values come from
`config/ur5_policy.yaml` and from the launch arguments, which win. Only those marked † may be set
while the node runs.
"""
_DECLARERS = (
    ('vla_policy', policy_parameters.declare),
    ('ur5_robot', robot_parameters.declare),
    ('sim_cameras', sim_camera_parameters.declare),
)


def document() -> str:
    """The whole page; needs a ROS context of its own, which it makes and ends."""
    with tempfile.TemporaryDirectory() as folder:
        rclpy.init(args=['--ros-args', '-p', f'recorder:path:={folder}/bag'])
        try:
            return '\n'.join([_HEAD, *_sections()])
        finally:
            rclpy.try_shutdown()


def _sections() -> Iterator[str]:
    for name, declare in _DECLARERS:
        node = rclpy.create_node(name)
        declare(node)
        yield _section(node)
        node.destroy_node()
    recorder = RecorderNode()
    yield _section(recorder, hidden=('path',))
    recorder.close()
    recorder.destroy_node()


def _section(node: Node, hidden: Sequence[str] = ()) -> str:
    """A heading and a table; the values of ``hidden`` belong to this run and are left out."""
    rows = [
        f'## /{node.get_name()}\n',
        '| parameter | default | range | meaning |',
        '|---|---|---|---|',
    ]
    for name in node.list_parameters([], 0).names:
        if name == 'use_sim_time' or name.startswith(('qos_overrides', 'start_type')):
            continue
        descriptor = node.describe_parameter(name)
        mark = '' if descriptor.read_only else ' †'
        meaning = descriptor.description.replace('<', '&lt;')  # else Markdown takes it for HTML
        default = '' if name in hidden else _default(node, name)
        rows.append(f'| `{name}`{mark} | {default} | {_range(descriptor)} | {meaning} |')
    return '\n'.join(rows) + '\n'


def _default(node: Node, name: str) -> str:
    try:
        value = node.get_parameter(name).value
    except ParameterUninitializedException:
        return 'not set'
    if isinstance(value, float):
        return f'`{value:.4g}`'
    if isinstance(value, (list, tuple)) or hasattr(value, 'tolist'):
        return ', '.join(f'`{item}`' for item in value)
    return '' if value == '' else f'`{value}`'.replace('True', 'true').replace('False', 'false')


def _range(descriptor: ParameterDescriptor) -> str:
    for limits in (*descriptor.floating_point_range, *descriptor.integer_range):
        return f'{limits.from_value:.6g} to {limits.to_value:.6g}'
    return ''


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page to the file that is the only argument, or print it."""
    words = list(sys.argv[1:] if argv is None else argv)
    text = document()
    if words:
        Path(words[0]).write_text(text, encoding='utf-8')
    else:
        print(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
