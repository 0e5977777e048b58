# SPDX-License-Identifier: Apache-2.0
"""Auxiliary read-outs used while training and thrown away afterwards.

Behaviour cloning alone lets the decoder ignore the pictures for a long time. In simulation the
places of the objects are known, so the patch features are asked where each object is, and the
decoder's state is asked where the instructed source and target are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Readouts(nn.Module):
    """Linear heads on the patch features and on the decoder state that predicts the action."""

    def __init__(self, features: int, width: int, points: int, patches: int) -> None:
        """Heads for ``points`` key points over ``patches`` patches a camera."""
        super().__init__()
        self.side = int(patches**0.5)
        self.where = nn.Linear(features, points)
        self.offset = nn.Linear(features, 2 * points)
        self.goals = nn.Linear(width, 6)

    def keypoint_loss(self, features: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and mean pixel error (fraction of the image) of the key points in view.

        Args:
            features: (B, cameras, patches, F).
            keypoints: (B, cameras, P, 2) positions in 0..1, outside where not in view.
        """
        side = self.side
        visible = ((keypoints > 0.0) & (keypoints < 1.0)).all(-1)
        scaled = keypoints.clamp(0.0, 1.0 - 1e-6) * side
        cell = scaled.floor()
        index = (cell[..., 1] * side + cell[..., 0]).long()
        logits = self.where(features).transpose(-1, -2).float()
        place = nn.functional.cross_entropy(
            logits.flatten(0, 2), index.flatten(), reduction='none'
        ).view_as(index)
        offsets = self.offset(features).float().unflatten(-1, (-1, 2)).movedim(-2, -3)
        at = index[..., None, None].expand(*index.shape, 1, 2)
        found = offsets.gather(-2, at).squeeze(-2)
        wanted = scaled - cell - 0.5
        error = (found - wanted).abs().sum(-1)
        weight = visible.float()
        total = weight.sum().clamp(min=1.0)
        loss = ((place + error) * weight).sum() / total
        with torch.no_grad():
            best = logits.argmax(-1)
            guess_at = best[..., None, None].expand(*best.shape, 1, 2)
            guess = offsets.gather(-2, guess_at).squeeze(-2) + 0.5
            guess = guess + torch.stack([best % side, best // side], -1)
            miss = ((guess - scaled) / side).norm(dim=-1)
            pixels = (miss * weight).sum() / total
        return loss, pixels

    def goal_loss(self, states: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and mean error [m] of the source's and target's place seen from the command.

        Args:
            states: (B, width) decoder states that predict the first action token.
            goals: (B, 9) source, target and command position [m].
        """
        wanted = goals[:, :6] - goals[:, 6:].repeat(1, 2)
        found = self.goals(states).float() * 0.1
        error = (found - wanted).unflatten(-1, (2, 3))
        return error.abs().mean() * 10.0, error.norm(dim=-1).mean()
