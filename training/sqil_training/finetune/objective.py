# SPDX-License-Identifier: Apache-2.0
"""The loss of SQIL, and of the methods that it contains (SQIL, equations 3, 6 and 7).

    L = mean_s[ -log pi_Q(a | s) ]  +  mean_s[ alpha(s) D(pi_Q(s), pi_FP(s)) ]

The first term imitates the demonstration and is never weighted; the second keeps the student at
the teacher's answer, and more so where the state matters. Both are plainly added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class Objective:
    """Which terms count.

    Attributes:
        imitation: the negative log-likelihood of the demonstrated action.
        distillation: the distance to the teacher's answer.
        weighted: the distance is weighted by the saliency of the state.
    """

    imitation: bool
    distillation: bool
    weighted: bool


OBJECTIVES = {
    'qat': Objective(imitation=True, distillation=False, weighted=False),
    'qrd': Objective(imitation=False, distillation=True, weighted=True),
    'qbc': Objective(imitation=True, distillation=True, weighted=False),
    'sqil': Objective(imitation=True, distillation=True, weighted=True),
}
"""QAT: equation 3. QRD: equation 6 without an expert (the paper's table 10). QBC: SQIL with
alpha = 1 (arXiv 2412.01034; its full text was not at hand, so this is an inference)."""


def mean_square(student: Tensor, teacher: Tensor) -> Tensor:
    """(B, T, K) logits to (B,) mean squared differences: D of the paper's main results.

    The released code takes the mean over every position and the whole vocabulary; here it is
    over the seven action tokens and their bins (inference: nothing else moves the arm).
    """
    return (student.float() - teacher.float()).square().mean(dim=(-2, -1))


def forward_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(pi_FP || pi_Q) [nat] per action token, (B,): the paper's alternative D."""
    return _divergence(teacher, student)


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(pi_Q || pi_FP) [nat] per action token, (B,): for states that the student visits.

    Forward KL would make it as unsure as the teacher is there (VLA-OPD, arXiv 2603.26666).
    """
    return _divergence(student, teacher)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'l2': mean_square,
    'kl': forward_kl,
    'reverse_kl': reverse_kl,
}


@dataclass(frozen=True)
class Loss:
    """Terms of the loss as scalars; ``total`` has the gradient."""

    total: Tensor
    imitation: Tensor
    distillation: Tensor


def loss(
    objective: Objective,
    distance: str,
    student: Tensor,
    teacher: Tensor,
    targets: Tensor,
    alpha: Tensor,
) -> Loss:
    """Both terms, and the sum of those that count.

    Args:
        objective: which count.
        distance: a key of :data:`DISTANCES`.
        student: (B, 7, bins) logits.
        teacher: (B, 7, bins) logits, without gradient.
        targets: (B, 7, bins) probabilities of the demonstrated bins.
        alpha: (B,) saliency weights.
    """
    imitation = cross_entropy(student.float().flatten(0, 1), targets.flatten(0, 1))
    return combined(objective, imitation, DISTANCES[distance](student, teacher.detach()), alpha)


def combined(objective: Objective, imitation: Tensor, apart: Tensor, alpha: Tensor) -> Loss:
    """Equation 7 of terms that are there already.

    Args:
        objective: which count.
        imitation: () negative log-likelihood, mean over the states.
        apart: (B,) distance to the teacher's answer.
        alpha: (B,) saliency weights.
    """
    distillation = ((alpha if objective.weighted else torch.ones_like(alpha)) * apart).mean()
    total = objective.imitation * imitation + objective.distillation * distillation
    return Loss(total, imitation.detach(), distillation.detach())


def _divergence(one: Tensor, other: Tensor) -> Tensor:
    """KL(one || other) of (B, T, K) logits, mean over T."""
    p, q = one.float().log_softmax(-1), other.float().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).mean(-1)
