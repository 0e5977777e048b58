# SPDX-License-Identifier: Apache-2.0
"""A policy over vectors: a network that answers with a normal distribution of every control.

An answer is (B, 2 A): A means [controls] and A logarithms of standard deviations. It is what
SQIL calls the final logits in state domains (inference: the paper does not print its networks).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from sqil_ros.types import Array

NARROWEST, WIDEST = -3.0, 1.0
"""Bounds of the logarithm of a standard deviation; without the lower one, controls at their
limit would pull it to minus infinity."""
_HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


class Standardize(nn.Module):
    """Every dimension to mean 0 and variance 1 over the demonstrations.

    Attributes:
        mean: (D,) in the observations' units.
        deviation: (D,) 1 where a dimension never moves.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, observations: Tensor) -> None:
        """Take the statistics of (n, D) observations."""
        super().__init__()
        deviation = observations.std(dim=0, correction=0)
        self.register_buffer('mean', observations.mean(dim=0))
        self.register_buffer('deviation', torch.where(deviation > 1e-6, deviation, 1.0))

    def forward(self, observations: Tensor) -> Tensor:
        """(B, D) to (B, D)."""
        return (observations - self.mean) / self.deviation


def new_policy(observations: Tensor, action_size: int, hidden: int) -> nn.Sequential:
    """A full-precision policy with two hidden layers, untrained.

    Args:
        observations: (n, D) of the demonstrations.
        action_size: A.
        hidden: width of a hidden layer.
    """
    return nn.Sequential(
        Standardize(observations),
        nn.Linear(observations.shape[1], hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 2 * action_size),
    )


def negative_log_likelihood(answer: Tensor, actions: Tensor) -> Tensor:
    """-log pi(a | s) [nat per control], () mean over a batch.

    Args:
        answer: (B, 2 A).
        actions: (B, A).
    """
    mean, width = answer.chunk(2, dim=-1)
    width = width.clamp(NARROWEST, WIDEST)
    return (0.5 * ((actions - mean) / width.exp()).square() + width + _HALF_LOG_TAU).mean()


@torch.inference_mode()
def likeliest(policy: nn.Module, observations: Array) -> Array:
    """(B, D) observations to (B, A) controls in [-1, 1]: the means."""
    answer = policy(torch.from_numpy(observations.astype(np.float32)))
    return answer.chunk(2, dim=-1)[0].clamp(-1.0, 1.0).numpy()
