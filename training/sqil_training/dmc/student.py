# SPDX-License-Identifier: Apache-2.0
"""A policy on the grids of learned steps."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sqil_training.finetune.lsq import LsqLinear


@torch.no_grad()
def rounded_copy(
    policy: nn.Sequential, observations: Tensor, bits: int, edge_bits: int
) -> nn.Sequential:
    """``policy`` with weights and inputs of its linear layers rounded (LSQ's first steps).

    Untrained it is round-to-nearest; what is trained from there is QAT or SQIL.

    Args:
        policy: full precision; it stays as it is.
        observations: (n, D) a sample that the steps of the inputs are found with.
        bits: width of weights and inputs of the inner layers.
        edge_bits: width of those of the first and the last layer.

    Raises:
        ParameterError: a width is not 2 to 8.
    """
    linear = [index for index, layer in enumerate(policy) if isinstance(layer, nn.Linear)]
    layers: list[nn.Module] = []
    x = observations
    for index, layer in enumerate(policy):
        if isinstance(layer, nn.Linear):
            width = edge_bits if index in (linear[0], linear[-1]) else bits
            layers.append(LsqLinear(layer, x, width, width))
        else:
            layers.append(copy.deepcopy(layer))
        x = layer(x)
    return nn.Sequential(*layers)
