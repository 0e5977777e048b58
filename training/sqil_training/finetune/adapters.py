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
from dataclasses import dataclass

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.nn.functional import linear

from sqil_ros.quant.activations import Inputs, rounded
from sqil_ros.quant.primitives import (
    Grid,
    Quantized,
    Steps,
    code_range,
    dequantize,
    find_steps,
    round_onto,
)
from sqil_ros.quant.size import packed_layers
from sqil_training.finetune.lsq import round_learned

BESIDE, MERGED = 'beside', 'merged'


def add_beside(model: nn.Module, rank: int, alpha: float, dropout: float = 0.0) -> None:
    """Freeze ``model`` and put a LoRA pair beside every packed layer, in place.

    At the start B = 0, so the student answers as its profile does.
    """
    model.requires_grad_(False)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft divides it by the rank
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


@dataclass(frozen=True)
class Rounding:
    """How a layer is rounded, one step per row of its weight.

    Attributes:
        bits: width of the weight's codes.
        inputs: how the inputs are rounded, with a static step as it is first; None for inputs in
            floating point.
    """

    bits: int
    inputs: Inputs | None = None


class MergedLinear(nn.Linear):
    """Q(W + s B A): rounds in every forward pass; the gradient passes straight through.

    The step of every row is learned, too (LSQ, a step a row), as a factor: so that an update of
    AdamW, whose size is that of the learning rate, is a share of the step (inference).

    Attributes:
        down: (rank, in) A, learned.
        up: (out, rank) B, learned, zero at first.
        stretch: (out,) logarithm of what the first steps are multiplied with, learned.
        input_stretch: () likewise of a static step of the inputs, learned; None without one.
    """

    first_steps: Tensor

    def __init__(self, layer: nn.Linear, rounding: Rounding, rank: int, alpha: float) -> None:
        """Learn a change of a full-precision ``layer``."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        bias = None if layer.bias is None else layer.bias.detach().clone()
        self.register_parameter('bias', None if bias is None else nn.Parameter(bias, False))
        self.rounding = rounding
        self._share = alpha / rank
        self.down = nn.Parameter(torch.randn(rank, self.in_features) / rank)
        self.up = nn.Parameter(torch.zeros(self.out_features, rank))
        self.register_buffer('first_steps', closest_steps(self.weight.float(), rounding.bits))
        self.stretch = nn.Parameter(torch.zeros(self.out_features))
        static = rounding.inputs is not None and rounding.inputs.step is not None
        self.input_stretch = nn.Parameter(torch.zeros(())) if static else None

    @property
    def quantized(self) -> Quantized:
        """The integers that would be deployed now."""
        steps = Steps(self._steps().detach())
        return round_onto(self._changed().detach().float(), steps, self.rounding.bits)

    @property
    def input_step(self) -> Tensor | None:
        """() static step of the inputs that would be deployed now; None without one."""
        inputs = self.rounding.inputs
        if self.input_stretch is None or inputs is None or inputs.step is None:
            return None
        return inputs.step * self.input_stretch.exp()

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        # In float32 whatever products are computed in: codes that are trained are those deployed.
        with torch.autocast(x.device.type, enabled=False):
            span = code_range(self.rounding.bits)
            weight = round_learned(self._changed(), self._steps()[:, None], *span)
            x = self._rounded(x)
        return linear(x, weight.to(x.dtype), self.bias)

    def _rounded(self, x: Tensor) -> Tensor:
        inputs, step = self.rounding.inputs, self.input_step
        if inputs is None:
            return x
        x = x.float()
        if step is None or not inputs.meant_for(x):
            return rounded(x, inputs)
        return round_learned(x, step, *code_range(inputs.bits))

    def _steps(self) -> Tensor:
        return self.first_steps * self.stretch.exp()

    def _changed(self) -> Tensor:
        return self.weight + self._share * (self.up @ self.down)


def closest_steps(weight: Tensor, bits: int) -> Tensor:
    """(out,) steps that round the rows of a (out, in) float32 weight with the least square error.

    Searched among shares of the step that clips nothing.
    """
    widest = find_steps(weight, Grid(bits)).scale
    steps = torch.stack([share * widest for share in torch.linspace(0.2, 1.0, 41).tolist()])
    errors = torch.stack(
        [
            (dequantize(round_onto(weight, Steps(step), bits)) - weight).square().sum(1)
            for step in steps
        ]
    )
    return steps.gather(0, errors.argmin(0)[None])[0]


def add_merged(
    model: nn.Module, roundings: Mapping[str, Rounding], rank: int, alpha: float
) -> None:
    """Freeze a full-precision ``model``; the layers in ``roundings`` learn on their grid."""
    model.requires_grad_(False)
    for name, rounding in roundings.items():
        parent, _, child = name.rpartition('.')
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        setattr(model.get_submodule(parent), child, MergedLinear(layer, rounding, rank, alpha))


def merged(model: nn.Module) -> Iterator[tuple[str, MergedLinear]]:
    """The layers that :func:`add_merged` made, by name."""
    for name, module in model.named_modules():
        if isinstance(module, MergedLinear):
            yield name, module
