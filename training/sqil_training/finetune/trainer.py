# SPDX-License-Identifier: Apache-2.0
"""One run of fine-tuning, on one process or many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from sqil_ros.errors import TrainingError
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.processor import Batch
from sqil_training.batches import draw_jitter, soft_bins
from sqil_training.finetune.frames import WeightedFrames
from sqil_training.finetune.objective import OBJECTIVES, Loss, loss
from sqil_training.finetune.settings import FinetuneSettings
from sqil_training.finetune.sharding import shard, sharding_wanted
from sqil_training.finetune.student import ActionLogits
from sqil_training.precision import products_in

_SEED_STRIDE = 1_000_003


def learning_rate(settings: FinetuneSettings, step: int) -> float:
    """Of one update: up in a straight line, level, down in a straight line."""
    up = (step + 1) / max(1, settings.warm_up)
    down = (settings.steps - step) / max(1, settings.cool_down)
    return settings.learning_rate * min(1.0, up, down)


class Finetuner:
    """Updates a student, batch by batch.

    Attributes:
        step: updates made so far.
        network: the student.
        learned: the trainable parameters by name.
        optimizer: AdamW over them.
    """

    def __init__(
        self,
        settings: FinetuneSettings,
        teacher: OpenVLAPolicy,
        student: OpenVLA,
        frames: WeightedFrames,
        accelerator: Accelerator,
    ) -> None:
        """Begin at step 0.

        Args:
            settings: of the run.
            teacher: full precision; also gives the student's inputs.
            student: see :func:`sqil_training.finetune.student.load_student`.
            frames: what it is trained with.
            accelerator: of this process.
        """
        self.settings, self.frames, self.step, self.network = settings, frames, 0, student
        self._accelerator, self._policy = accelerator, teacher
        self._teacher = ActionLogits(teacher.model).to(accelerator.device).eval()
        # Nothing of these networks behaves differently in training but LoRA's dropout.
        self._student = ActionLogits(student).train(settings.dropout > 0.0)
        if sharding_wanted(accelerator):
            shard(self._teacher, accelerator)
            shard(self._student, accelerator)
        else:
            self._student = accelerator.prepare_model(self._student)
        self.learned = {n: p for n, p in student.named_parameters() if p.requires_grad}
        self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            self.learned.values(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        if settings.batch % accelerator.num_processes:
            raise TrainingError(
                f'A batch of {settings.batch} cannot be shared evenly by '
                f'{accelerator.num_processes} processes; choose a multiple of that.'
            )

    def train(self) -> Iterator[Loss]:
        """Update after update to the last one; yields the loss before each, over all processes.

        Raises:
            TrainingError: the loss is not finite.
        """
        while self.step < self.settings.steps:
            yield self._update()

    def _update(self) -> Loss:
        settings, accelerator = self.settings, self._accelerator
        found = self._loss(*self._inputs())
        terms = torch.stack([found.total.detach(), found.imitation, found.distillation])
        terms = accelerator.reduce(terms, 'mean')
        if not bool(torch.isfinite(terms).all()):
            raise TrainingError(
                f'The loss is {terms.tolist()} at step {self.step}; lower the learning rate '
                f'({settings.learning_rate:g}) and go on from the last saved state.'
            )
        self.optimizer.zero_grad(set_to_none=True)
        accelerator.backward(found.total)
        nn.utils.clip_grad_norm_(self.learned.values(), settings.clip)
        for group in self.optimizer.param_groups:
            group['lr'] = learning_rate(settings, self.step)
        self.optimizer.step()
        self.step += 1
        return Loss(*terms)

    def _inputs(self) -> tuple[Batch, Tensor, Tensor]:
        """This process's part of the batch: inputs, tokens and weights."""
        settings, accelerator = self.settings, self._accelerator
        part = slice(accelerator.process_index, None, accelerator.num_processes)
        drawn = self.frames.at(self.frames.draw(settings.seed, self.step, settings.batch)[part])
        batch = self._policy.inputs(drawn.observations)
        tokens = torch.from_numpy(self._policy.tokens_from_actions(drawn.actions))
        # Chance depends on seed and step alone, so that a run can go on bit for bit; jitter is
        # drawn for the whole batch, so that it does not depend on the number of processes.
        seed = settings.seed * _SEED_STRIDE + self.step
        torch.manual_seed(seed)  # of dropout
        chance = torch.Generator().manual_seed(seed)
        cameras = batch.pixels.shape[1]
        gain, shift = draw_jitter(settings.batch, cameras, settings.jitter, chance)
        batch = replace(batch, pixels=batch.pixels * gain[part] + shift[part])
        device = accelerator.device
        alpha = torch.from_numpy(drawn.alpha).float()
        return batch.to(device, torch.float32), tokens.to(device), alpha.to(device)

    def _loss(self, batch: Batch, tokens: Tensor, alpha: Tensor) -> Loss:
        settings, config = self.settings, self._policy.model.config
        with torch.no_grad():
            wanted = self._teacher(batch, tokens)
        targets = soft_bins(
            tokens, config.text_vocab_size, config.n_action_bins, settings.bin_spread
        )
        with products_in(settings.precision, self._accelerator.device):
            answer = self._student(batch, tokens)
        # With as many frames in every part the mean over processes is the mean over the batch.
        return loss(OBJECTIVES[settings.method], settings.distance, answer, wanted, targets, alpha)
