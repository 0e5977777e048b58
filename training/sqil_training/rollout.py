# SPDX-License-Identifier: Apache-2.0
"""Many episodes in lockstep: one batched policy call a step for a group of simulated arms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sqil_ros.errors import RobotFault
from sqil_ros.plan import Plan
from sqil_ros.sim.arm import SimulatedArm
from sqil_ros.sim.tasks import MAX_STEPS, SuccessJudge, Task, task_by_name
from sqil_ros.types import Action, Array, Observation
from sqil_training.motion import motion_of

Actor = Callable[[Sequence[SimulatedArm], Sequence[Task], Sequence[Observation]], Array]
"""Answers a batch of observations with (B, K, 7) chunks of actions."""


@dataclass(frozen=True)
class Outcome:
    """How one episode ended.

    Attributes:
        task: its name.
        seed: of the initial state.
        success: whether the task was done.
        steps: number of actions.
        jerk: see :class:`sqil_training.motion.Motion`, as are the next two.
        reversals: turns back [1/s].
        grips: actions that switched the gripper.
        fault: why it was cut off.
    """

    task: str
    seed: int
    success: bool
    steps: int
    jerk: float
    reversals: float
    grips: Sequence[int]
    fault: str = ''


@dataclass
class _Running:
    arm: SimulatedArm
    task: Task
    seed: int
    judge: SuccessJudge
    path: list[Array]
    plan: Plan = field(default_factory=lambda: Plan(steps=0))
    openings: list[float] = field(default_factory=list)


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
        actor: whose chunks are executed to their end before it is asked again.
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
            start = arm.scene.tcp().position
            running.append(_Running(arm, task, seed, SuccessJudge(task), [start]))
        rows = [run.plan.next(run.seed) for run in running]
        asked = [run for run, row in zip(running, rows, strict=True) if row is None]
        chunks: Iterator[Array] = iter(())
        if asked:
            observations = [see(run.arm.observe(instruction_of(run.task))) for run in asked]
            chunks = iter(actor([r.arm for r in asked], [r.task for r in asked], observations))
        still = []
        for run, row in zip(running, rows, strict=True):
            planned = row or run.plan.follow(next(chunks), run.seed)
            outcome = _advance(run, planned.actions[0])
            if outcome is None:
                still.append(run)
            else:
                free.append(run.arm)
                yield outcome
        running = still


def _advance(run: _Running, row: Array) -> Outcome | None:
    action = Action(np.asarray(row[:6], dtype=float), float(row[6]))
    run.openings.append(action.gripper)
    try:
        run.arm.step(action)
    except RobotFault as fault:
        return _outcome(run, False, str(fault))
    finally:
        run.path.append(run.arm.scene.tcp().position)
    if run.judge.update(run.arm.scene.state()):
        return _outcome(run, True)
    if len(run.openings) >= MAX_STEPS:
        return _outcome(run, False)
    return None


def _outcome(run: _Running, success: bool, fault: str = '') -> Outcome:
    period_s = run.arm.scene.contract.period_s
    motion = motion_of(np.array(run.path), np.array(run.openings), period_s)
    return Outcome(
        run.task.name,
        run.seed,
        success,
        len(run.openings),
        round(motion.jerk, 4),
        round(motion.reversals, 4),
        motion.grips,
        fault,
    )
