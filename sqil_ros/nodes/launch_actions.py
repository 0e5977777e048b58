# SPDX-License-Identifier: Apache-2.0
"""Turns the description of the graph into launch actions, for the launch files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessIO, OnProcessStart
from launch.events import matches_action
from launch.events.process import ProcessExited, ProcessIO
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from sqil_ros.graph import Argument, Options, Process, RosNode, environment


def launch_description(
    arguments: Sequence[Argument], describe: Callable[[Options], Sequence[Process]]
) -> LaunchDescription:
    """Declare the arguments and, when launch knows their values, start the graph."""

    def start_with(context: LaunchContext) -> list[Action]:
        given = {
            argument.name: context.launch_configurations[argument.name] for argument in arguments
        }
        options = Options.parse(given)
        return _start(describe(options), options.autostart)

    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    argument.name,
                    default_value=argument.default,
                    description=argument.description,
                    choices=argument.choices or None,
                )
                for argument in arguments
            ),
            *(SetEnvironmentVariable(name, value) for name, value in environment().items()),
            OpaqueFunction(function=start_with),
        ]
    )


def _start(graph: Sequence[Process], autostart: bool) -> list[Action]:
    """Start the processes in order; what comes after one that tells when it is ready waits."""
    if not graph:
        return []
    first, rest = graph[0], graph[1:]
    process = _process(first)
    actions = [process]
    if isinstance(first, RosNode) and first.lifecycle and autostart:
        actions = [*_bring_up(process), process]
    if not first.ready:
        return [*actions, *_start(rest, autostart)]
    waiting = _start(rest, autostart)

    def continue_when_ready(event: ProcessIO) -> list[Action] | None:
        if not waiting or first.ready.encode() not in event.text:
            return None
        started = list(waiting)
        waiting.clear()
        return started

    on_output = OnProcessIO(
        target_action=process, on_stdout=continue_when_ready, on_stderr=continue_when_ready
    )
    return [RegisterEventHandler(on_output), *actions]


def _process(process: Process) -> ExecuteProcess:
    def ending(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
        """Nothing is restarted silently: the end of one process is the end of the launch."""
        return None if context.is_shutdown else Shutdown(reason=f'{process.name} has ended')

    if not isinstance(process, RosNode):
        return ExecuteProcess(
            cmd=[sys.executable, '-u', '-m', process.module, *process.arguments],
            name=process.name,
            output='both',
            on_exit=ending,
        )
    kind = LifecycleNode if process.lifecycle else Node
    return kind(
        package='sqil_ros',
        executable=process.executable,
        name=process.name,
        namespace=process.namespace,
        parameters=[str(process.params_file), dict(process.parameters)],
        ros_arguments=['--log-level', process.log_level],
        output='both',
        on_exit=ending,
    )


def _bring_up(node: LifecycleNode) -> list[Action]:
    """Configure the node once it runs and activate it once it is configured.

    The activation waits for *configuring -> inactive*: waiting for *inactive* alone would
    activate again a node that the operator has just deactivated.
    """

    def change(transition: int) -> EmitEvent:
        return EmitEvent(
            event=ChangeState(
                lifecycle_node_matcher=matches_action(node), transition_id=transition
            )
        )

    configure = change(Transition.TRANSITION_CONFIGURE)
    activate = change(Transition.TRANSITION_ACTIVATE)
    return [
        RegisterEventHandler(OnProcessStart(target_action=node, on_start=[configure])),
        RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state='configuring',
                goal_state='inactive',
                entities=[activate],
            )
        ),
    ]
