# SPDX-License-Identifier: Apache-2.0
"""Episodes that LIBERO judges: its initial states, its predicates, a policy at 5 Hz."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from tqdm import tqdm

from sqil_ros.types import Action, Array
from sqil_training.comparison import EXPERT
from sqil_training.evaluation import Condition, Journal
from sqil_training.libero.answer import answer_of
from sqil_training.libero.arm import LiberoArm
from sqil_training.libero.arms import arm_of
from sqil_training.libero.expert import expert_action
from sqil_training.libero.suite import LiberoTask
from sqil_training.libero.tasks import INITIAL_STATES, SUITES, task_by_name
from sqil_training.libero.workers import results
from sqil_training.motion import motion_of
from sqil_training.rollout import Outcome

Policy = Callable[[LiberoArm, LiberoTask], Action]


def judged(arm: LiberoArm, task: LiberoTask, seed: int, start: str, policy: Policy) -> Outcome:
    """One episode; LIBERO ends it as soon as the task is done.

    Args:
        arm: of a scene of ``task``.
        task: what is told.
        seed: number of LIBERO's initial state, or seed of a placement.
        start: one of ``STARTS``.
        policy: who acts.
    """
    if start == INITIAL_STATES:
        arm.restore(seed)
    else:
        arm.reset(seed)
    path: list[Array] = [arm.scene.tcp().position]
    openings: list[float] = []
    longest = SUITES[task.suite].max_steps
    while not arm.succeeded and arm.steps < longest:
        action = policy(arm, task)
        arm.step(action)
        path.append(arm.scene.tcp().position)
        openings.append(action.gripper)
    motion = motion_of(np.array(path), np.array(openings), arm.scene.contract.period_s)
    return Outcome(
        task.name,
        seed,
        arm.succeeded,
        arm.steps,
        round(motion.jerk, 4),
        round(motion.reversals, 4),
        motion.grips,
    )


def act_as_expert(arm: LiberoArm, task: LiberoTask) -> Action:
    """The scripted expert as a :data:`Policy`; nothing is rendered for it."""
    down = np.array(arm.scene.contract.tool_down)
    target, state = SUITES[task.suite].target, arm.scene.state()
    return expert_action(task.item, target, state, arm.command, arm.gripper_command, down)


@cache
def policy_of(condition: Condition) -> Policy:
    """Who acts under ``condition``, loaded once a process.

    Raises:
        SqilError: checkpoint or profile cannot be used.
    """
    if condition.policy == EXPERT:
        return act_as_expert
    answer = answer_of(condition.checkpoint, condition.profile)

    def act(arm: LiberoArm, task: LiberoTask) -> Action:
        wrong = condition.instruction == 'wrong'
        told = SUITES[task.suite].told_wrongly(task) if wrong else task
        observation = arm.observe(told.instruction)
        if condition.images == 'black':
            black = tuple(np.zeros_like(image) for image in observation.images)
            observation = dataclasses.replace(observation, images=black)
        return answer(observation)

    return act


@dataclasses.dataclass(frozen=True)
class Job:
    """One episode to be judged."""

    condition: Condition
    task: str
    seed: int


def run(job: Job) -> Outcome:
    """Judge one episode in this process."""
    task = task_by_name(job.task)
    policy = policy_of(job.condition)
    return judged(arm_of(job.task), task, job.seed, job.condition.variation, policy)


def evaluate(
    condition: Condition, episodes: Sequence[tuple[str, int]], journal: Journal, workers: int
) -> list[Outcome]:
    """Run what the journal lacks on ``workers`` processes; outcomes in the order of ``episodes``.

    Raises:
        SqilError: the policy cannot be loaded, or LIBERO has no such initial state.
    """
    known = {(outcome.task, outcome.seed) for outcome in journal.outcomes}
    missing = sorted(set(episodes) - known)  # by task: scenes are changed as seldom as can be
    jobs = [Job(condition, *episode) for episode in missing]
    won = sum(outcome.success for outcome in journal.outcomes)
    with tqdm(total=len(episodes), initial=len(known), unit='episode') as bar:
        for outcome in results(run, jobs, workers):
            journal.add(outcome)
            won += outcome.success
            bar.update()
            bar.set_postfix(success=f'{won}/{len(journal.outcomes)}')
    order = {episode: i for i, episode in enumerate(episodes)}
    return sorted(journal.outcomes, key=lambda outcome: order[outcome.task, outcome.seed])
