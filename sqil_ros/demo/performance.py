# SPDX-License-Identifier: Apache-2.0
"""The whole performance: the graph comes up, every episode is performed, the graph goes down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqil_ros.contract import Contract
from sqil_ros.demo.conductor import Conductor
from sqil_ros.demo.console import Console
from sqil_ros.demo.outcome import Outcome
from sqil_ros.demo.plan import Episode
from sqil_ros.graph import Options, policy_graph
from sqil_ros.nodes.stage import EpisodeStage, stage
from sqil_ros.sim.side_channel import SideChannel
from sqil_ros.supervisor import Supervisor

_MIB = 2**20


@dataclass(frozen=True)
class Performance:
    """What came of it; the ticks are as the policy node counts them."""

    outcomes: tuple[Outcome, ...]
    ticks: int
    missed_ticks: int


def perform(
    episodes: Sequence[Episode],
    options: Options,
    contract: Contract,
    console: Console,
    log: Path,
    variation: str,
    max_steps: int,
) -> Performance:
    """Perform ``episodes`` on a graph of their own.

    Args:
        episodes: what to do.
        options: of the graph.
        contract: of the robot.
        console: hears about the progress.
        log: file for what the nodes print.
        variation: of the scene.
        max_steps: largest number of actions of an episode.

    Raises:
        SqilError: a process of the graph ended, or the robot or the policy is not fit to work.
    """
    console.title(f'sqil_ros demo: {len(episodes)} episodes with the profile {options.profile}')
    with _running_graph(options, contract, console, log) as (supervisor, performer):
        policy = performer.operator.policy
        assert policy is not None
        console.say(
            f'    {policy.profile}: {policy.weight_bytes / _MIB:.1f} MiB of weights, self-test '
            f'{policy.self_test_ms:.0f} ms\n'
        )
        scene = SideChannel(options.robot_ip)
        conductor = Conductor(performer, scene, contract, variation, max_steps)
        outcomes = []
        for i, episode in enumerate(episodes):
            number = f'{i + 1}/{len(episodes)}'

            def watch(steps: int, number: str = number, episode: Episode = episode) -> None:
                supervisor.check()
                console.progress(number, episode, steps, max_steps)

            outcome = conductor.perform(episode, watch)
            console.ended(number, episode, outcome)
            outcomes.append(outcome)
        scene.close()
        # The status counts the ticks and comes once a second: the next one knows the last action.
        operator, seen = performer.operator, performer.operator.policy
        operator.wait_for(lambda: operator.policy is not seen, 'A last status of the policy', 5.0)
        status = operator.policy
        assert status is not None
        return Performance(tuple(outcomes), status.ticks, status.missed_ticks)


@contextmanager
def _running_graph(
    options: Options, contract: Contract, console: Console, log: Path
) -> Iterator[tuple[Supervisor, EpisodeStage]]:
    graph = policy_graph(options)
    with ExitStack() as stack:
        lines = stack.enter_context(log.open('w', encoding='utf-8'))
        supervisor = Supervisor(graph, lambda line: print(line, file=lines, flush=True))
        with console.stage(f'started {", ".join(process.name for process in graph)}'):
            stack.enter_context(supervisor)
        performer = stack.enter_context(stage(contract, options.namespace))
        operator = performer.operator
        with console.stage(f'robot at {options.robot_ip} connected'):
            operator.wait_for(
                lambda: (
                    _alive(supervisor)
                    and operator.safety is not None
                    and operator.safety.robot_mode > 0
                ),
                'A connected robot',
            )
        with console.stage('policy loaded, self-test passed'):
            operator.wait_for(
                lambda: (
                    _alive(supervisor)
                    and operator.policy is not None
                    and operator.policy.state == 'active'
                ),
                'An active policy',
                timeout_s=120.0,
            )
        yield supervisor, performer


def _alive(supervisor: Supervisor) -> bool:
    """Whether every process runs; one that ended is named by an error."""
    supervisor.check()
    return True
