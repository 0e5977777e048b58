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
        self.place = nn.Linear(features, 3 * points)
        self.axis = nn.Linear(features, 2)
        self.goals = nn.Linear(width, 6)
        self.turn = nn.Linear(width, 2)

    def keypoint_loss(
        self, features: Tensor, keypoints: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and mean pixel error (fraction of the image) of the key points in view.

        The patch that shows a point is asked for the rest of the way to it and for its place in
        the world, so that whoever attends to the patch can read metres from it.

        Args:
            features: (B, cameras, patches, F).
            keypoints: (B, cameras, P, 2) positions in 0..1, outside where not in view.
            places: (B, cameras, P, 3) positions that a camera can tell [m].
        """
        side = self.side
        visible = ((keypoints > 0.0) & (keypoints < 1.0)).all(-1)
        scaled = keypoints.clamp(0.0, 1.0 - 1e-6) * side
        cell = scaled.floor()
        index = (cell[..., 1] * side + cell[..., 0]).long()
        logits = self.where(features).transpose(-1, -2).float()
        where = nn.functional.cross_entropy(
            logits.flatten(0, 2), index.flatten(), reduction='none'
        ).view_as(index)
        offsets = self.offset(features).float().unflatten(-1, (-1, 2)).movedim(-2, -3)
        metres = self.place(features).float().unflatten(-1, (-1, 3)).movedim(-2, -3) * 0.1
        rest = _pick(offsets, index) - (scaled - cell - 0.5)
        apart = _pick(metres, index) - places
        weight = visible.float()
        total = weight.sum().clamp(min=1.0)
        terms = where + rest.abs().sum(-1) + 10.0 * apart.abs().sum(-1)
        loss = (terms * weight).sum() / total
        with torch.no_grad():
            best = logits.argmax(-1)
            guess = _pick(offsets, best) + 0.5 + torch.stack([best % side, best // side], -1)
            miss = ((guess - scaled) / side).norm(dim=-1)
            pixels = (miss * weight).sum() / total
        return loss, pixels

    def axis_loss(self, features: Tensor, keypoint: Tensor, axis: Tensor) -> Tensor:
        """Loss of the direction of a long object, told by the patch that shows it.

        Args:
            features: (B, cameras, patches, F).
            keypoint: (B, cameras, 2) where the object is, in 0..1.
            axis: (B, cameras) its yaw [rad], NaN if unknown.
        """
        known = ((keypoint > 0.0) & (keypoint < 1.0)).all(-1) & ~axis.isnan()
        cell = (keypoint.clamp(0.0, 1.0 - 1e-6) * self.side).long()
        index = cell[..., 1] * self.side + cell[..., 0]
        patch = features.gather(
            2, index[..., None, None].expand(*index.shape, 1, features.shape[-1])
        )
        return _direction_loss(self.axis(patch.squeeze(2)).float(), axis, known)

    def turn_loss(self, states: Tensor, turn: Tensor) -> Tensor:
        """Loss of the (B,) turn [rad] to the source, NaN where there is none."""
        return _direction_loss(self.turn(states).float(), turn, ~turn.isnan())

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


def _pick(values: Tensor, patch: Tensor) -> Tensor:
    """From (..., P, patches, D) the row of each point's (..., P) ``patch``: (..., P, D)."""
    at = patch[..., None, None].expand(*patch.shape, 1, values.shape[-1])
    return values.gather(-2, at).squeeze(-2)


def _direction_loss(found: Tensor, angle: Tensor, known: Tensor) -> Tensor:
    """Mean distance to the doubled angle on the unit circle: half a turn is the same direction."""
    doubled = 2.0 * angle.nan_to_num()
    wanted = torch.stack([doubled.cos(), doubled.sin()], dim=-1)
    weight = known.float()
    return ((found - wanted).norm(dim=-1) * weight).sum() / weight.sum().clamp(min=1.0)
