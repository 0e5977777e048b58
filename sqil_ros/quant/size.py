# SPDX-License-Identifier: Apache-2.0
"""What a model weighs and who multiplies it, read from the model itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.packing import row_bytes

DENSE = 'torch'
_HALF = 2  # bytes of a parameter that a profile does not pack


@dataclass(frozen=True)
class ModelSize:
    """Bytes in memory and weights behind them.

    Attributes:
        packed: bytes of packed integers, as the back-ends hold them.
        scales: bytes of their scales, zero points and static steps of activations.
        rest: bytes of every other parameter and buffer.
        weights: number of weights the model stands for, packed or not.
    """

    packed: int
    scales: int
    rest: int
    weights: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.packed + self.scales + self.rest


def packed_layers(model: nn.Module) -> dict[str, PackedLinear]:
    """Packed layers by name."""
    return {n: module for n, module in model.named_modules() if isinstance(module, PackedLinear)}


def model_bytes(model: nn.Module) -> ModelSize:
    """Count every parameter and buffer once, shared ones too."""
    layers = packed_layers(model).values()
    packed = [layer.packed for layer in layers]
    steps = [step for layer in layers for step in (layer.scale, layer.zero, layer.input_step)]
    scales = [step for step in steps if step is not None]
    counted = {id(tensor) for tensor in [*packed, *scales]}
    rest = [t for t in [*model.parameters(), *model.buffers()] if id(t) not in counted]
    weights = sum(layer.in_features * layer.out_features for layer in layers)
    return ModelSize(
        _bytes(packed),
        _bytes(scales),
        _bytes(rest),
        weights + sum(parameter.numel() for parameter in model.parameters()),
    )


def file_bytes(model: nn.Module) -> int:
    """Bytes of all tensors in the weights file of a profile that is this model."""
    size, layers = model_bytes(model), packed_layers(model).values()
    rows = [layer.out_features * row_bytes(layer.in_features, layer.bits) for layer in layers]
    floats = [one for one in model.parameters() if one.is_floating_point()]
    halves = _HALF * sum(one.numel() for one in floats)
    return size.scales + sum(rows) + size.rest - _bytes(floats) + halves


def back_end_names(model: nn.Module) -> str:
    """Who multiplies the weights: ``torch``, ``torch_cpu``, ``reference+torch_cpu`` ..."""
    names = {layer.back_end for layer in packed_layers(model).values()}
    return '+'.join(sorted(names)) or DENSE


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
