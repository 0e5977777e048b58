# SPDX-License-Identifier: Apache-2.0
"""Random orthogonal matrices that spread every channel over all others."""

from __future__ import annotations

import torch
from torch import Tensor


def spreading_rotation(width: int, generator: torch.Generator) -> Tensor:
    """(width, width) float64: a Hadamard matrix with random signs, as far as the width allows.

    Of a width 2^k m, m odd, the power of two gets Sylvester's Hadamard matrix and m a random
    orthogonal one; their Kronecker product is orthogonal (inference: QuaRot, section 3, takes
    known Hadamard matrices for the odd part, which do not exist for every width).
    """
    odd = width
    hadamard = torch.ones(1, 1, dtype=torch.float64)
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / 2**0.5
    while odd % 2 == 0:
        hadamard, odd = torch.kron(hadamard, pair), odd // 2
    gaussian = torch.randn(odd, odd, generator=generator, dtype=torch.float64)
    rest, upper = torch.linalg.qr(gaussian)
    rest = rest * upper.diagonal().sign()  # makes the distribution uniform
    signs = 1.0 - 2.0 * torch.randint(2, (width,), generator=generator, dtype=torch.float64)
    return torch.kron(hadamard, rest.contiguous()) * signs


def mean_keeping(rotation: Tensor) -> Tensor:
    """The (d, d) rotation followed by the reflection that puts the vector of ones back.

    A layer norm subtracts the mean over channels, so it commutes with Q where Q 1 = 1.
    """
    width = len(rotation)
    ones = torch.full((width,), width**-0.5, dtype=rotation.dtype)
    normal = rotation @ ones - ones
    length = normal.norm()
    if length < 1e-12:
        return rotation
    normal = normal / length
    return rotation - 2.0 * torch.outer(normal, normal @ rotation)
