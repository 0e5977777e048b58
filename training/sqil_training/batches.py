# SPDX-License-Identifier: Apache-2.0
"""What every training on demonstrations does to its pictures and labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def draw_jitter(
    pictures: int, cameras: int, share: float, chance: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Gain and shift, (B, cameras, 1, 1, 1) each, of up to ``share`` around 1 and 0.

    Exposure and contrast of one picture change together in both encoders' channels.
    """
    shape = (pictures, cameras, 1, 1, 1)
    gain = 1.0 + share * (2.0 * torch.rand(shape, generator=chance) - 1.0)
    shift = share * (2.0 * torch.rand(shape, generator=chance) - 1.0)
    return gain, shift


def soft_bins(tokens: Tensor, vocabulary: int, bins: int, spread: float) -> Tensor:
    """(B, 7) action tokens to (B, 7, bins) targets: a bell over neighbouring bins.

    Neighbouring bins mean nearly the same motion; a target that says so learns from fewer
    demonstrations than a one-hot one (inference; the paper uses one-hot targets, spread 0).
    """
    centre = vocabulary - 1 - tokens
    if spread == 0.0:
        return one_hot(centre.long(), bins).float()
    index = torch.arange(bins, device=tokens.device).float()
    return torch.softmax(-0.5 * ((index - centre[..., None].float()) / spread) ** 2, dim=-1)
