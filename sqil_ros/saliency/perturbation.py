# SPDX-License-Identifier: Apache-2.0
"""What a cell is replaced with: phi of SQIL's equation 4, for whole pictures at once.

The paper blurs the cell or adds noise to it, and finds the same success (its Table 14); the
released code fills it with the picture's mean. Width of the blur and of the noise are inferences:
they are not printed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Perturbation = Callable[[Tensor, int, np.random.Generator], Tensor]
"""(cameras, channels, H, W) normalised pictures, cells a side and a source of chance to the
pictures that cells are taken from."""

NOISE_STD = 0.5
"""Standard deviation of every noise, in the model's normalised units."""


def state_rng(seed: int, episode: str, step: int) -> np.random.Generator:
    """The chance of one state: the same on every machine and in every order of scoring."""
    name = int.from_bytes(hashlib.sha256(episode.encode()).digest()[:8], 'big')
    return np.random.default_rng([seed, name, step])


def blurred(pictures: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Gaussian blur, sigma a quarter of a cell (7 pixels at 224 / 8, kernel 29)."""
    del rng
    height, width = pictures.shape[-2:]
    sigma = min(height, width) / side / 4.0
    reach = max(1, round(2.0 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
    kernel = torch.softmax(-0.5 * (offsets / sigma) ** 2, dim=0)
    flat = pictures.reshape(-1, 1, height, width)
    padded = functional.pad(flat, (reach, reach, reach, reach), mode='reflect')
    rows = functional.conv2d(padded, kernel.view(1, 1, -1, 1))
    return functional.conv2d(rows, kernel.view(1, 1, 1, -1)).view_as(pictures)


def channel_mean(pictures: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Each channel's mean over its own picture (as in the released code)."""
    del side, rng
    return pictures.mean(dim=(-2, -1), keepdim=True).expand_as(pictures)


def gaussian(pictures: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Normally distributed noise on every value."""
    del side
    return _noisy(pictures, rng.normal(0.0, NOISE_STD, pictures.shape))


def laplacian(pictures: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Laplace-distributed noise of the same standard deviation."""
    del side
    return _noisy(pictures, rng.laplace(0.0, NOISE_STD / math.sqrt(2.0), pictures.shape))


def uniform(pictures: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Uniformly distributed noise of the same standard deviation."""
    del side
    reach = NOISE_STD * math.sqrt(3.0)
    return _noisy(pictures, rng.uniform(-reach, reach, pictures.shape))


PERTURBATIONS: dict[str, Perturbation] = {
    'blur': blurred,
    'channel_mean': channel_mean,
    'gaussian': gaussian,
    'laplacian': laplacian,
    'uniform': uniform,
}


def _noisy(pictures: Tensor, noise: np.ndarray) -> Tensor:
    return pictures + torch.from_numpy(noise).to(pictures)
