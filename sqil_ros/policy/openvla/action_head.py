# SPDX-License-Identifier: Apache-2.0
"""Actions by regression: the L1 head of OpenVLA-OFT (arXiv 2502.19645).

The seven decoder states of an action, side by side, become its seven numbers (in the release:
``prismatic/models/action_heads.py``). Nothing holds the answer within [-1, 1]; it was trained on
targets that are.
"""

from __future__ import annotations

from torch import Tensor, nn

from sqil_ros.policy.openvla.config import N_ACTIONS

BLOCKS = 2


class Residual(nn.Module):
    """A normalised, linear and rectified change that is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to (..., width)."""
        return x + self.linear(self.norm(x)).relu()


class ActionHead(nn.Module):
    """Decoder states to normalised actions."""

    def __init__(self, width: int) -> None:
        """Take states of ``width`` numbers."""
        super().__init__()
        self.norm1 = nn.LayerNorm(N_ACTIONS * width)
        self.fc1 = nn.Linear(N_ACTIONS * width, width)
        self.blocks = nn.ModuleList(Residual(width) for _ in range(BLOCKS))
        self.norm2 = nn.LayerNorm(width)
        self.fc2 = nn.Linear(width, N_ACTIONS)

    def forward(self, states: Tensor) -> Tensor:
        """(B, 7 K, width) states to (B, K, 7) actions."""
        x = self.fc1(self.norm1(states.unflatten(1, (-1, N_ACTIONS)).flatten(2))).relu()
        for block in self.blocks:
            x = block(x)
        return self.fc2(self.norm2(x))
