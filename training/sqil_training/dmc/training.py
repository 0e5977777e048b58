# SPDX-License-Identifier: Apache-2.0
"""One loop for all: behaviour cloning at full precision, then QAT and SQIL on the grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sqil_ros.errors import TrainingError
from sqil_training.dmc.policy import negative_log_likelihood
from sqil_training.finetune.objective import DISTANCES, Loss, Objective, combined


@dataclass(frozen=True)
class Frames:
    """What is learned from.

    Attributes:
        observations: (n, D).
        actions: (n, A).
        alpha: (n,) saliency weights.
    """

    observations: Tensor
    actions: Tensor
    alpha: Tensor


@dataclass(frozen=True)
class Course:
    """How a training runs.

    Attributes:
        steps: updates of Adam.
        batch: frames of an update.
        rate: learning rate, which falls to 0 as a cosine.
        seed: of the frames that are drawn.
    """

    steps: int
    batch: int
    rate: float
    seed: int


def policy_loss(
    objective: Objective, answer: Tensor, wanted: Tensor, actions: Tensor, alpha: Tensor
) -> Loss:
    """SQIL's loss of a policy that answers with normal distributions.

    D is the mean squared difference of the final logits: here means and logarithms of standard
    deviations (inference, see :mod:`sqil_training.dmc.policy`).

    Args:
        objective: which terms count.
        answer: (B, 2 A) of the student.
        wanted: (B, 2 A) of the teacher, without gradient.
        actions: (B, A) demonstrated.
        alpha: (B,) saliency weights.
    """
    apart = DISTANCES['l2'](answer[:, None], wanted[:, None])
    return combined(objective, negative_log_likelihood(answer, actions), apart, alpha)


def train(
    policy: nn.Module,
    teacher: nn.Module,
    objective: Objective,
    frames: Frames,
    course: Course,
) -> None:
    """Train ``policy`` in place.

    Args:
        policy: what learns.
        teacher: full precision; without distillation it is asked, but nothing depends on it.
        objective: which terms count.
        frames: what is learned from.
        course: how.

    Raises:
        TrainingError: the loss is not finite.
    """
    chance = torch.Generator().manual_seed(course.seed)
    optimizer = torch.optim.Adam(policy.parameters(), course.rate)
    with torch.no_grad():
        wanted = teacher(frames.observations)
    for step in range(course.steps):
        drawn = torch.randint(len(frames.observations), (course.batch,), generator=chance)
        found = policy_loss(
            objective,
            policy(frames.observations[drawn]),
            wanted[drawn],
            frames.actions[drawn],
            frames.alpha[drawn],
        )
        if not math.isfinite(found.total.item()):
            raise TrainingError(
                f'The loss is {found.total.item()} at step {step}; lower the learning rate '
                f'({course.rate:g}).'
            )
        for group in optimizer.param_groups:
            group['lr'] = course.rate * 0.5 * (1.0 + math.cos(math.pi * step / course.steps))
        optimizer.zero_grad(set_to_none=True)
        found.total.backward()
        optimizer.step()
