# SPDX-License-Identifier: Apache-2.0
"""Who demonstrates: a network that has one answer for a state."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from sqil_ros.types import Array


class Expert:
    """Answers a state as it learned to."""

    def __init__(self, actor: nn.Module) -> None:
        """Take the network of :func:`new_actor`."""
        self._actor = actor

    @torch.inference_mode()
    def act(self, observation: Array) -> Array:
        """(D,) observation to (A,) controls in [-1, 1]."""
        action: Array = self._actor(torch.from_numpy(observation.astype(np.float32))).numpy()
        return action.astype(float)


def new_actor(observation_size: int, action_size: int, hidden: int) -> nn.Sequential:
    """The expert's network, untrained: (B, D) observations to (B, A) controls in [-1, 1]."""
    return nn.Sequential(
        nn.Linear(observation_size, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, action_size),
        nn.Tanh(),
    )
