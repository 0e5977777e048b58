# SPDX-License-Identifier: Apache-2.0
"""The expert of a task, on disk: a file, whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save

from sqil_training.dmc.expert import Expert, new_actor
from sqil_training.dmc.practice import practise
from sqil_training.dmc.tasks import Task
from sqil_training.dmc.world import World
from sqil_training.whole_file import whole_file


def expert_of(task: Task, folder: Path, report: Callable[[str], None]) -> Expert:
    """Read the expert of a task; it practises first where its file is missing.

    Args:
        task: what is done.
        folder: of the file, whose name says how the expert learned.
        report: told in words how far it is.

    Raises:
        SceneError: dm_control or stable-baselines3 is not installed.
    """
    world = World(task.domain, task.goal)
    hidden = task.practice.hidden
    actor = new_actor(len(world.reset(0)), world.action_size, hidden)
    digest = hashlib.sha256(expert_settings(task).encode()).hexdigest()
    path = folder / f'expert_{digest[:12]}.safetensors'
    if not path.is_file():
        learned = practise(
            lambda: World(task.domain, task.goal),
            lambda state: float(task.merit(state)),
            task.practice,
            lambda done, earned: report(
                f'{task.name} expert: {done} of {task.practice.steps} steps, earns {earned:.0f}'
            ),
        )
        with whole_file(path) as file:
            file.write(save(learned.state_dict()))
    actor.load_state_dict(load_file(path))
    return Expert(actor.requires_grad_(False))


def expert_settings(task: Task) -> str:
    """Everything about the task that decides its expert."""
    facts = {'task': task.name, 'merit': task.merit.__name__} | asdict(task.practice)
    return json.dumps(facts)
