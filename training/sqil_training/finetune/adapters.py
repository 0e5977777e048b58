# SPDX-License-Identifier: Apache-2.0
"""What a student may learn: low-rank changes of weights that stay on their integer grid.

Two forms of one idea:

- *beside* (SQIL, section 1.3): the packed integers are frozen and a second, low-rank matrix runs
  beside them, W_Q x + s B A x. That is what the paper deploys.
- *merged* (ours): the low-rank change is added to the full-precision weight and the sum is
  rounded in every forward pass, Q(W + s B A) x, with a straight-through gradient. What is
  deployed is integers alone, and the rounding is part of what was trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.nn.functional import linear

from sqil_ros.quant.primitives import Quantized, dequantize, quantize
from sqil_ros.quant.size import packed_layers

BESIDE, MERGED = 'beside', 'merged'


def add_beside(model: nn.Module, rank: int, alpha: float, dropout: float = 0.0) -> None:
    """Freeze ``model`` and put a LoRA pair beside every packed layer, in place.

    At the start B = 0, so the student answers as its profile does.
    """
    model.requires_grad_(False)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(packed_layers(model)),
        init_lora_weights='gaussian',
    )
    inject_adapter_in_model(config, model)


def beside(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """The layers that :func:`add_beside` made, by name of the packed layer."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield name, module


class MergedLinear(nn.Linear):
    """Q(W + s B A): rounds in every forward pass; the gradient passes straight through.

    Attributes:
        down: (rank, in) A, learned.
        up: (out, rank) B, learned, zero at first.
    """

    def __init__(self, layer: nn.Linear, bits: int, rank: int, alpha: float) -> None:
        """Learn a change of a full-precision ``layer``."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        self.bias = None
        if layer.bias is not None:
            self.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
        self.bits = bits
        self._share = alpha / rank
        self.down = nn.Parameter(torch.randn(rank, self.in_features) / rank)
        self.up = nn.Parameter(torch.zeros(self.out_features, rank))

    @property
    def quantized(self) -> Quantized:
        """The integers that would be deployed now."""
        return quantize(self._changed().detach(), self.bits)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        changed = self._changed()
        rounded = dequantize(quantize(changed.detach(), self.bits), changed.dtype)
        weight = changed + (rounded - changed).detach()
        return linear(x, weight.to(x.dtype), self.bias)

    def _changed(self) -> Tensor:
        return self.weight + self._share * (self.up @ self.down)


def add_merged(model: nn.Module, widths: Mapping[str, int], rank: int, alpha: float) -> None:
    """Freeze a full-precision ``model`` and let the layers in ``widths`` learn on their grid."""
    model.requires_grad_(False)
    for name, bits in widths.items():
        parent, _, child = name.rpartition('.')
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        setattr(model.get_submodule(parent), child, MergedLinear(layer, bits, rank, alpha))


def merged(model: nn.Module) -> Iterator[tuple[str, MergedLinear]]:
    """The layers that :func:`add_merged` made, by name."""
    for name, module in model.named_modules():
        if isinstance(module, MergedLinear):
            yield name, module
