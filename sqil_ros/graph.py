# SPDX-License-Identifier: Apache-2.0
"""The ROS graph: which processes run, with which parameters, in which order.

The launch files and the supervisor of ``make demo`` both start what :func:`policy_graph` and
:func:`simulation_graph` say, so that the two ways cannot drift apart.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqil_ros.errors import ParameterError
from sqil_ros.share import share_directory

SIMULATED_ROBOT = '127.0.0.2'
CHECKPOINT = 'models/toy_sink_openvla'
LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')

Value = str | bool | int | float


@dataclass(frozen=True)
class Argument:
    """An argument of the launch files and of the supervisor; a text, as launch arguments are."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


_SWITCH = ('true', 'false')
_ROBOT_IP = Argument(
    'robot_ip', '', f'Address of the UR controller; empty in simulation for {SIMULATED_ROBOT}.'
)
_NAMESPACE = Argument(
    'namespace', '', 'Namespace of the nodes and topics, where there is more than one robot.'
)
_PARAMS_FILE = Argument(
    'params_file', '', 'Parameters of the nodes; empty for config/ur5_policy.yaml of the package.'
)
_LOG_LEVEL = Argument('log_level', 'info', 'What the nodes log.', LOG_LEVELS)

SIMULATION_ARGUMENTS = (_ROBOT_IP, _PARAMS_FILE, _NAMESPACE, _LOG_LEVEL)
POLICY_ARGUMENTS = (
    Argument('ur_type', 'ur5e', 'Model of the arm.', ('ur5e', 'ur5')),
    _ROBOT_IP,
    Argument('use_sim', 'true', 'Start a simulated robot with its cameras.', _SWITCH),
    Argument('profile', 'int4_rtn', 'Precision of the weights: fp, or <width>_<method>.'),
    Argument('checkpoint', '', f'Directory of the trained policy; empty for {CHECKPOINT}.'),
    _PARAMS_FILE,
    _NAMESPACE,
    Argument('autostart', 'true', 'Configure and activate the policy unasked.', _SWITCH),
    _LOG_LEVEL,
    Argument('record', '', 'Directory of the bag to record; empty for none.'),
)


@dataclass(frozen=True)
class Options:
    """The arguments, checked; see :data:`POLICY_ARGUMENTS` for what each means."""

    ur_type: str
    robot_ip: str
    use_sim: bool
    profile: str
    checkpoint: str
    params_file: Path
    namespace: str
    autostart: bool
    log_level: str
    record: str

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Options:
        """Read the arguments that were given; the others have their defaults.

        Raises:
            ParameterError: an argument does not exist, or its value cannot be used.
        """
        unknown = sorted(given.keys() - {argument.name for argument in POLICY_ARGUMENTS})
        if unknown:
            known = ', '.join(argument.name for argument in POLICY_ARGUMENTS)
            raise ParameterError(f'There is no argument {unknown[0]!r}; there are: {known}.')
        text = {argument.name: argument.default for argument in POLICY_ARGUMENTS} | dict(given)
        for argument in POLICY_ARGUMENTS:
            if argument.choices and text[argument.name] not in argument.choices:
                raise ParameterError(
                    f'{argument.name} is {text[argument.name]!r}; it must be one of '
                    f'{", ".join(argument.choices)}.'
                )
        use_sim = text['use_sim'] == 'true'
        if not use_sim and not text['robot_ip']:
            raise ParameterError(
                'robot_ip is empty and use_sim is false; give the address of the robot, e.g. '
                'robot_ip:=192.168.56.101, or use_sim:=true.'
            )
        return cls(
            ur_type=text['ur_type'],
            robot_ip=text['robot_ip'] or SIMULATED_ROBOT,
            use_sim=use_sim,
            profile=text['profile'],
            checkpoint=text['checkpoint'] or str(share_directory() / CHECKPOINT),
            params_file=_params_file(text['params_file']),
            namespace=text['namespace'].strip('/'),
            autostart=text['autostart'] == 'true',
            log_level=text['log_level'],
            record=text['record'],
        )


def _params_file(given: str) -> Path:
    if not given:
        return share_directory() / 'config' / 'ur5_policy.yaml'
    path = Path(given).expanduser().resolve()
    if not path.is_file():
        raise ParameterError(f'params_file is {given!r}, and there is no such file.')
    return path


@dataclass(frozen=True)
class Process:
    """A process without ROS.

    Attributes:
        name: what its log lines and messages about it begin with.
        module: it runs as ``python -m module``.
        ready: a piece of the line that it prints when it can be used; empty if nothing waits.
        arguments: its command line.
    """

    name: str
    module: str
    ready: str = ''
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class RosNode(Process):
    """A process that is one ROS node; ``name`` is the node's name.

    Attributes:
        namespace: without slashes at its ends, empty for the root.
        params_file: read before ``parameters``, which therefore win.
        parameters: those that depend on the arguments.
        log_level: one of :data:`LOG_LEVELS`.
        lifecycle: configured and activated by who starts it; where nobody listens to lifecycle
            events the node's parameter ``autostart`` does it.
    """

    namespace: str = ''
    params_file: Path = Path()
    parameters: Mapping[str, Value] = field(default_factory=dict)
    log_level: str = 'info'
    lifecycle: bool = False

    @property
    def executable(self) -> str:
        """Name under which ``ros2 run`` and launch know it."""
        return self.module.rpartition('.')[2]


def simulation_graph(options: Options) -> tuple[Process, ...]:
    """The controller emulator with the physics behind it, and the cameras that look at it."""
    return (
        Process(
            'ur_controller',
            'sqil_ros.sim.ur_controller',
            ready='ready',
            arguments=('--host', options.robot_ip, '--plant', 'toy_sink'),
        ),
        _node(
            options,
            'sim_cameras',
            'sqil_ros.nodes.sim_camera_node',
            ready='Cameras look',
            robot_ip=options.robot_ip,
        ),
    )


def policy_graph(options: Options) -> tuple[Process, ...]:
    """Everything between the instruction and the arm, in the order in which it starts."""
    graph = list(simulation_graph(options)) if options.use_sim else []
    if options.record:
        graph.append(
            _node(
                options,
                'recorder',
                'sqil_ros.nodes.recorder_node',
                ready='Recording',
                path=options.record,
            )
        )
    graph.append(
        _node(
            options,
            'ur5_robot',
            'sqil_ros.nodes.robot_node',
            robot_ip=options.robot_ip,
            ur_type=options.ur_type,
            # On a real arm the first command after a start is never a motion.
            dry_run=not options.use_sim,
            use_sim=options.use_sim,
        )
    )
    graph.append(
        _node(
            options,
            'vla_policy',
            'sqil_ros.nodes.policy_node',
            lifecycle=True,
            **{'checkpoint': options.checkpoint, 'quantization.profile': options.profile},
        )
    )
    return tuple(graph)


def _node(
    options: Options,
    name: str,
    module: str,
    ready: str = '',
    lifecycle: bool = False,
    **parameters: Value,
) -> RosNode:
    return RosNode(
        name,
        module,
        ready,
        namespace=options.namespace,
        params_file=options.params_file,
        parameters=parameters,
        log_level=options.log_level,
        lifecycle=lifecycle,
    )


def environment() -> dict[str, str]:
    """Variables that every process of the graph needs, less those that the user has set.

    The Fast DDS profile keeps camera images whole. Nobody outside this machine can see or command
    the robot unless the user exports ``ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET``.
    """
    wanted = {
        'FASTRTPS_DEFAULT_PROFILES_FILE': str(share_directory() / 'config' / 'fastdds_shm.xml'),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    }
    return {name: value for name, value in wanted.items() if name not in os.environ}
