# SPDX-License-Identifier: Apache-2.0
"""Muon: momentum whose update is made orthogonal, for the weight matrices of a network.

Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks"; the scale that
lets it share AdamW's learning rate is Liu et al. (2025), arXiv:2502.16982, section 2.2. PyTorch's
own computes in bfloat16, which many CPUs only emulate; this one stays in the gradients' type and
treats all matrices of one shape at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# Quintic whose repetition drives every singular value of the update to about one (Jordan et al.).
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalized(matrices: Tensor, repeats: int = 5) -> Tensor:
    """(N, rows, columns) matrices with their singular values driven to between 0.7 and 1.2."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(repeats):
        gram = x @ x.mT
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; takes AdamW's learning rate and weight decay."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        """Optimise two-dimensional ``parameters``."""
        super().__init__(
            parameters, {'lr': lr, 'weight_decay': weight_decay, 'momentum': momentum}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group['params']:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for shape, parameters in shapes.items():
                updates = orthogonalized(
                    torch.stack([self._nesterov(p, group['momentum']) for p in parameters])
                )
                # An AdamW update has a mean square near 0.2; this one is scaled to the same.
                scale = 0.2 * max(shape) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1.0 - group['lr'] * group['weight_decay'])
                    parameter.sub_(update, alpha=group['lr'] * scale)

    def _nesterov(self, parameter: Tensor, momentum: float) -> Tensor:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if 'momentum' not in state:
            state['momentum'] = torch.zeros_like(parameter)
        state['momentum'].lerp_(gradient, 1.0 - momentum)
        return torch.lerp(gradient, state['momentum'], momentum)
