# SPDX-License-Identifier: Apache-2.0
"""Many episodes in lockstep: one batched policy call a step for a group of simulated arms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sqil_ros.errors import RobotFault
from sqil_ros.sim.arm import SimulatedArm
from sqil_ros.sim.tasks import MAX_STEPS, SuccessJudge, Task, task_by_name
from sqil_ros.types import Action, Array, Observation

Actor = Callable[[Sequence[SimulatedArm], Sequence[Task], Sequence[Observation]], Array]


@dataclass(frozen=True)
class Outcome:
    """How one episode ended; ``steps`` is the number of actions, ``fault`` why it was cut off."""

    task: str
    seed: int
    success: bool
    steps: int
    fault: str = ''


@dataclass
class _Running:
    arm: SimulatedArm
    task: Task
    seed: int
    judge: SuccessJudge
    steps: int = 0


def roll_out(
    arms: Sequence[SimulatedArm],
    episodes: Sequence[tuple[str, int]],
    actor: Actor,
    instruction_of: Callable[[Task], str],
    see: Callable[[Observation], Observation],
) -> Iterator[Outcome]:
    """Run ``episodes`` on ``arms``, each arm taking the next one as soon as it is free.

    Args:
        arms: simulated arms, one episode at a time each.
        episodes: (task name, seed) pairs.
        actor: answers a batch of observations with (B, 7) actions.
        instruction_of: what the policy is told for a task.
        see: what the policy is shown of an observation (identity, or black pictures).
    """
    waiting = list(episodes)[::-1]
    free = list(arms)
    running: list[_Running] = []
    while waiting or running:
        while waiting and free:
            name, seed = waiting.pop()
            arm, task = free.pop(), task_by_name(name)
            arm.reset(seed)
            running.append(_Running(arm, task, seed, SuccessJudge(task)))
        observations = [see(run.arm.observe(instruction_of(run.task))) for run in running]
        actions = actor([run.arm for run in running], [run.task for run in running], observations)
        still = []
        for run, row in zip(running, actions, strict=True):
            outcome = _advance(run, row)
            if outcome is None:
                still.append(run)
            else:
                free.append(run.arm)
                yield outcome
        running = still


def _advance(run: _Running, row: Array) -> Outcome | None:
    run.steps += 1
    try:
        run.arm.step(Action(np.asarray(row[:6], dtype=float), float(row[6])))
    except RobotFault as fault:
        return Outcome(run.task.name, run.seed, False, run.steps, str(fault))
    if run.judge.update(run.arm.scene.state()):
        return Outcome(run.task.name, run.seed, True, run.steps)
    if run.steps >= MAX_STEPS:
        return Outcome(run.task.name, run.seed, False, run.steps)
    return None
