# SPDX-License-Identifier: Apache-2.0
"""Runs of a policy in the toy sink: what was asked, on how many processes, and what came of it."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.errors import SqilError
from sqil_ros.proportions import wilson_interval
from sqil_ros.sim.arm import SimulatedArm
from sqil_ros.sim.expert import expert_action
from sqil_ros.sim.tasks import Task, task_by_name
from sqil_ros.sim.toy_sink import ToySink
from sqil_ros.types import Array, Observation
from sqil_training.orphans import end_with_parent
from sqil_training.rollout import Actor, Outcome, roll_out


@dataclass(frozen=True)
class Condition:
    """Everything that decides an outcome, given task and seed."""

    policy: str
    checkpoint: str
    profile: str
    variation: str
    instruction: str
    images: str


def expert_actor(
    arms: Sequence[SimulatedArm], tasks: Sequence[Task], observations: Sequence[Observation]
) -> Array:
    """The scripted expert as an :data:`Actor`; it looks at the scene, not at the pictures."""
    del observations
    rows = []
    for arm, task in zip(arms, tasks, strict=True):
        action = expert_action(
            task,
            arm.scene.state(),
            arm.command,
            arm.gripper_command,
            np.array(arm.scene.contract.tool_down),
        )
        rows.append(np.append(action.delta, action.gripper))
    return np.array(rows)[:, None]


def policy_actor(checkpoint: str, profile: str, contract: Contract) -> Actor:
    """A trained policy as an :data:`Actor`."""
    import torch

    from sqil_ros.policy.loader import load_policy
    from sqil_ros.policy.openvla.policy import OpenVLAPolicy

    torch.set_num_threads(1)
    policy = load_policy(checkpoint, profile, contract)
    if not isinstance(policy, OpenVLAPolicy):
        raise SqilError(f'{checkpoint} cannot answer batches; evaluate an OpenVLA checkpoint.')
    return lambda arms, tasks, observations: policy.act_chunks(observations)


def _worker(
    condition: Condition, batch: int, episodes: Sequence[tuple[str, int]], out: Any
) -> None:
    """Run a share of the episodes and put every :class:`Outcome` (or an error) into ``out``."""
    end_with_parent()
    try:
        for outcome in run_episodes(condition, batch, episodes):
            out.put(outcome)
    except SqilError as error:
        out.put(error)
    out.put(None)


def run_episodes(
    condition: Condition, batch: int, episodes: Sequence[tuple[str, int]]
) -> Iterator[Outcome]:
    """Outcomes of ``episodes`` in this process, ``batch`` arms at a time."""
    contract = Contract.load()
    if condition.policy == 'expert':
        actor: Actor = expert_actor
    else:
        actor = policy_actor(condition.checkpoint, condition.profile, contract)
    arms = [
        SimulatedArm(ToySink(contract, condition.variation))
        for _ in range(min(batch, len(episodes)))
    ]

    def told(task: Task) -> str:
        wrong = condition.instruction == 'wrong'
        return task_by_name(task.wrong).instruction if wrong else task.instruction

    def seen(observation: Observation) -> Observation:
        if condition.images == 'camera':
            return observation
        black = tuple(np.zeros_like(image) for image in observation.images)
        return dataclasses.replace(observation, images=black)

    return roll_out(arms, episodes, actor, told, seen)


class Journal:
    """Outcomes so far, one JSON line each behind a line that names the condition."""

    def __init__(self, path: Path | None, condition: Condition) -> None:
        """Read what an interrupted run left.

        Raises:
            SqilError: the file belongs to another condition.
        """
        self._path = path
        self.outcomes: list[Outcome] = []
        if path is None:
            return
        if path.exists():
            lines = path.read_text(encoding='utf-8').splitlines()
            found = json.loads(lines[0])
            if found != asdict(condition):
                raise SqilError(
                    f'{path} holds an unfinished run of {found}; remove it or choose another '
                    '--json.'
                )
            self.outcomes = [Outcome(**json.loads(line)) for line in lines[1:]]
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(condition)) + '\n', encoding='utf-8')

    def add(self, outcome: Outcome) -> None:
        """Note one more outcome."""
        self.outcomes.append(outcome)
        if self._path is not None:
            with self._path.open('a', encoding='utf-8') as file:
                file.write(json.dumps(asdict(outcome)) + '\n')

    def remove(self) -> None:
        """Forget the file once the result is written."""
        if self._path is not None:
            self._path.unlink()


def evaluate(
    condition: Condition,
    episodes: Sequence[tuple[str, int]],
    journal: Journal,
    workers: int,
    batch: int,
) -> list[Outcome]:
    """Run what the journal lacks on ``workers`` processes; outcomes in the order of ``episodes``.

    Raises:
        SqilError: a worker could not start or was stopped.
    """
    known = {(outcome.task, outcome.seed) for outcome in journal.outcomes}
    missing = [episode for episode in episodes if episode not in known]
    context = multiprocessing.get_context('spawn')
    results: Any = context.Queue()
    shares = [missing[i::workers] for i in range(workers) if missing[i::workers]]
    processes = [
        context.Process(target=_worker, args=(condition, batch, share, results), daemon=True)
        for share in shares
    ]
    for process in processes:
        process.start()
    running = len(processes)
    won = sum(outcome.success for outcome in journal.outcomes)
    with tqdm(total=len(episodes), initial=len(known), unit='episode') as bar:
        while running:
            outcome = results.get()
            if outcome is None:
                running -= 1
                continue
            if isinstance(outcome, SqilError):
                raise outcome
            journal.add(outcome)
            won += outcome.success
            bar.update()
            bar.set_postfix(success=f'{won}/{len(journal.outcomes)}')
    order = {episode: i for i, episode in enumerate(episodes)}
    return sorted(journal.outcomes, key=lambda outcome: order[outcome.task, outcome.seed])


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Successes among some episodes, with Wilson's 95 % interval."""
    won = sum(outcome.success for outcome in outcomes)
    return {
        'successes': won,
        'episodes': len(outcomes),
        'success': won / max(1, len(outcomes)),
        'interval': wilson_interval(won, len(outcomes)),
    }


def summaries(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """A :func:`summary` of every task."""
    names = sorted({outcome.task for outcome in outcomes})
    return {name: summary([o for o in outcomes if o.task == name]) for name in names}
