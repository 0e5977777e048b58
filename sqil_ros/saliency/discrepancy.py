# SPDX-License-Identifier: Apache-2.0
"""How far two answers are apart: the norm of SQIL's equation 4 and its alternatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

ACTION, TEXT = 'action', 'text'
"""Which logits answer: the bins of the action dimensions, or the vocabulary at every word."""


@dataclass(frozen=True)
class Discrepancy:
    """A distance between answers.

    Attributes:
        scope: which logits it looks at, ``action`` or ``text``.
        distance: (T, K) reference logits and (B, T, K) others to (B,) distances in float64.
    """

    scope: str
    distance: Callable[[Tensor, Tensor], Tensor]


def half_squared_norm(reference: Tensor, others: Tensor) -> Tensor:
    """1/2 ||pi(s) - pi(phi(s, k))||^2 over all logits (SQIL, equation 4)."""
    return 0.5 * (others.double() - reference.double()).square().sum(dim=(-2, -1))


def mean_square(reference: Tensor, others: Tensor) -> Tensor:
    """Mean squared difference without the factor 1/2, as SQIL's released code has it."""
    return (others.double() - reference.double()).square().mean(dim=(-2, -1))


def divergence(reference: Tensor, others: Tensor) -> Tensor:
    """KL(pi(s) || pi(phi(s, k))) [nat], summed over the T independent distributions.

    The paper names KL as an alternative without its direction; this one is an inference: the
    undisturbed answer is what the other one should have been.
    """
    wanted = reference.double().log_softmax(-1)
    found = others.double().log_softmax(-1)
    # Rounding may leave a negative zero's worth where both are the same.
    return (wanted.exp() * (wanted - found)).sum(dim=(-2, -1)).clamp(min=0.0)


DISCREPANCIES = {
    'l2': Discrepancy(ACTION, half_squared_norm),
    'text_l2': Discrepancy(TEXT, mean_square),
    'kl': Discrepancy(ACTION, divergence),
}
