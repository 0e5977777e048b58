# SPDX-License-Identifier: Apache-2.0
"""Layers that read the same inputs as one product; their weights are held once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sqil_ros.quant.cuda import Cuda
from sqil_ros.quant.linear import PackedLinear

Product = Callable[[Tensor], Tensor]


def joined(layers: Sequence[nn.Module]) -> Product:
    """(..., in) to the outputs of all layers, one behind the other.

    Where the layers are alike they become one layer, whose rows they share from then on.
    """
    if _alike_and_packed(layers):
        return _one_packed([layer for layer in layers if isinstance(layer, PackedLinear)])
    if all(type(layer) is nn.Linear and layer.bias is None for layer in layers):
        return _one_dense([layer for layer in layers if isinstance(layer, nn.Linear)])
    return lambda x: torch.cat([layer(x) for layer in layers], dim=-1)


def _alike_and_packed(layers: Sequence[nn.Module]) -> bool:
    packed = [
        (layer.bits, layer.shape.groups, layer.shape.symmetric, layer.input_rule)
        for layer in layers
        if isinstance(layer, PackedLinear)
        and layer.back_end == Cuda.name
        and layer.bias is None
        and layer.input_step is None
        and layer.down is None
    ]
    return len(packed) == len(layers) and len(set(packed)) == 1


def _one_packed(layers: Sequence[PackedLinear]) -> PackedLinear:
    first = layers[0]
    zeros = [layer.zero for layer in layers if layer.zero is not None]
    whole = PackedLinear(
        torch.cat([layer.portable for layer in layers]),
        torch.cat([layer.scale for layer in layers]),
        None,
        first.in_features,
        first.bits,
        Cuda.name,
        torch.cat(zeros) if zeros else None,
        first.inputs,
    )
    counts = [layer.out_features for layer in layers]
    for layer, rows in zip(layers, whole.packed.split(counts), strict=True):
        layer.packed = rows
    return whole


def _one_dense(layers: Sequence[nn.Linear]) -> nn.Linear:
    weight = torch.cat([layer.weight.detach() for layer in layers])
    whole = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device='meta')
    whole.weight = nn.Parameter(weight, requires_grad=False)
    counts = [layer.out_features for layer in layers]
    for layer, rows in zip(layers, weight.split(counts), strict=True):
        layer.weight = nn.Parameter(rows, requires_grad=False)
    return whole
