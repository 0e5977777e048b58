# SPDX-License-Identifier: Apache-2.0
"""Which parts of its pictures a policy's answer hangs on (SQIL, equations 4 and 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sqil_ros.saliency.discrepancy import DISCREPANCIES
from sqil_ros.saliency.grid import camera_groups, grid_masks
from sqil_ros.saliency.perturbation import PERTURBATIONS
from sqil_ros.saliency.settings import SaliencySettings
from sqil_ros.types import Array


class State(Protocol):
    """One state of the world before a policy that can be asked about it again and again.

    Pictures are encoded one by one, so that disturbing one camera leaves the others' features as
    they are.
    """

    @property
    def pictures(self) -> Tensor:
        """(cameras, channels, H, W) as the model sees them, normalised."""

    def encode(self, pictures: Tensor) -> Tensor:
        """(B, channels, H, W) pictures to (B, ...) features, each picture for itself."""

    def answer(self, features: Tensor) -> Tensor:
        """(B, cameras, ...) features to (B, T, K) logits of this state's answer."""


@dataclass(frozen=True)
class PictureSaliency:
    """Local saliency of one state.

    Attributes:
        maps: (groups, N, N) S(s, k) of equation 4; one map for all cameras together, or one for
            each camera.
    """

    maps: Array

    @property
    def score(self) -> float:
        """The State Importance Score, the mean over the positions (equation 5)."""
        return float(self.maps.mean())


@torch.inference_mode()
def picture_saliency(
    state: State, settings: SaliencySettings, rng: np.random.Generator, batch: int = 32
) -> PictureSaliency:
    """Disturb one cell after another and see how far the answer moves.

    Costs 1 + N^2 answers, or 1 + C N^2 where C cameras are disturbed one by one.

    Args:
        state: what is asked.
        settings: grid, perturbation and discrepancy.
        rng: chance of the noise, see :func:`sqil_ros.saliency.perturbation.state_rng`.
        batch: disturbed states in one pass through the policy.
    """
    pictures = state.pictures
    masks = grid_masks(settings.side, *pictures.shape[-2:]).to(pictures.device)
    replaced = PERTURBATIONS[settings.perturbation](pictures, settings.side, rng)
    distance = DISCREPANCIES[settings.discrepancy].distance
    features = state.encode(pictures)
    reference = state.answer(features[None])[0]
    local = []
    for group in camera_groups(len(pictures), settings.cameras):
        for cells in masks.split(batch):
            inside = cells[:, None, None]
            disturbed = torch.where(inside, replaced[group], pictures[group])
            seen = features.expand(len(cells), *features.shape).clone()
            encoded = state.encode(disturbed.flatten(0, 1))
            seen[:, group] = encoded.unflatten(0, (len(cells), len(group)))
            local.append(distance(reference, state.answer(seen)))
    maps = torch.cat(local).view(-1, settings.side, settings.side)
    return PictureSaliency(maps.cpu().numpy())
