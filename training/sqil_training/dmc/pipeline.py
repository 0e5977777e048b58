# SPDX-License-Identifier: Apache-2.0
"""From demonstrations to returns: every method and every training seed of one task.

What was finished lies in the run's directory, under a name that says what decided it, and is not
done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import nn

from sqil_ros.types import Array
from sqil_training.dmc.demonstrations import Demonstration, collect, settings_of, stacked
from sqil_training.dmc.evaluation import Arena
from sqil_training.dmc.expert import Expert
from sqil_training.dmc.expert_file import expert_of
from sqil_training.dmc.importance import frame_weights
from sqil_training.dmc.policy import new_policy
from sqil_training.dmc.settings import FULL_PRECISION, ROUNDED, Settings
from sqil_training.dmc.student import rounded_copy
from sqil_training.dmc.tasks import Task
from sqil_training.dmc.training import Course, Frames, train
from sqil_training.finetune.objective import OBJECTIVES
from sqil_training.whole_file import whole_file


@dataclass(frozen=True)
class Experiment:
    """One task under given settings.

    Attributes:
        task: what is done.
        settings: how.
        folder: where everything that was finished lies.
        report: told in words what is being done, and again when it goes on.
    """

    task: Task
    settings: Settings
    folder: Path
    report: Callable[[str], None]

    @cached_property
    def demonstrations(self) -> Sequence[Demonstration]:
        """Of the expert; made where they are missing."""
        folder = self.folder / 'demonstrations'
        return collect(
            self.task,
            folder,
            lambda: self._expert,
            lambda: self.report(f'{self.task.name} demonstration'),
        )

    @cached_property
    def _expert(self) -> Expert:
        return expert_of(self.task, self.folder, self.report)

    def returns(self, method: str) -> Array:
        """(seeds, episodes) returns of one of :data:`~.settings.METHODS`.

        Raises:
            EpisodeError: the demonstrations are of other settings.
            TrainingError: a loss is not finite.
        """
        return np.stack([self._returns(method, seed) for seed in range(self.settings.seeds)])

    def _returns(self, method: str, seed: int) -> Array:
        settings = self.settings
        facts = [method, seed, settings.episodes, settings.cloning]
        if method != FULL_PRECISION:
            facts += [settings.grid]
        if method not in (FULL_PRECISION, ROUNDED):
            facts += [settings.tuning]
        path = self._path(f'{method}{seed}', facts, 'json')
        if not path.is_file():
            self.report(f'{self.task.name} {method} seed {seed}')
            found = self._arena.returns(self._policy(method, seed))
            with whole_file(path) as file:
                file.write(json.dumps({'returns': found.tolist()}).encode())
        return np.array(json.loads(path.read_text(encoding='utf-8'))['returns'])

    def _policy(self, method: str, seed: int) -> nn.Module:
        teacher = self._teacher(seed)
        if method == FULL_PRECISION:
            return teacher
        settings, frames = self.settings, self._frames
        student = rounded_copy(teacher, frames.observations, settings.bits, settings.edge_bits)
        if method == ROUNDED:
            return student
        objective = OBJECTIVES[method]
        if objective.weighted:
            alpha = frame_weights(
                teacher, self.demonstrations, settings.stride, settings.top, settings.beta, seed
            )
            frames = Frames(frames.observations, frames.actions, torch.from_numpy(alpha).float())
        course = Course(settings.tuning_steps, settings.batch, settings.tuning_rate, seed)
        train(student, teacher, objective, frames, course)
        return student

    def _teacher(self, seed: int) -> nn.Sequential:
        """The full-precision policy of a training seed, trained where it is missing."""
        settings, frames = self.settings, self._frames
        torch.manual_seed(seed)
        policy = new_policy(frames.observations, frames.actions.shape[1], settings.hidden)
        path = self._path(f'teacher{seed}', [seed, settings.cloning], 'safetensors')
        if not path.is_file():
            self.report(f'{self.task.name} teacher seed {seed}')
            course = Course(settings.cloning_steps, settings.batch, settings.cloning_rate, seed)
            train(policy, policy, OBJECTIVES['qat'], frames, course)
            with whole_file(path) as file:
                file.write(save(policy.state_dict()))
        policy.load_state_dict(load_file(path))
        return policy.requires_grad_(False)

    @cached_property
    def _frames(self) -> Frames:
        observations, actions = stacked(self.demonstrations)
        return Frames(
            torch.from_numpy(observations).float(),
            torch.from_numpy(actions).float(),
            torch.ones(len(observations)),
        )

    @cached_property
    def _arena(self) -> Arena:
        return Arena(self.task, self.settings.episodes)

    def _path(self, name: str, facts: Sequence[object], suffix: str) -> Path:
        decided = json.dumps([settings_of(self.task), self.task.episodes, *facts])
        digest = hashlib.sha256(decided.encode()).hexdigest()
        return self.folder / f'{name}_{digest[:12]}.{suffix}'
