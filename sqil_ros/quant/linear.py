# SPDX-License-Identifier: Apache-2.0
"""Linear layers on the integer grid: packed (what runs) and fake (what training sees)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sqil_ros.engine.tiles import Weights
from sqil_ros.quant.activations import Inputs, rounded
from sqil_ros.quant.back_ends import AUTO, LayerShape, choose_back_end
from sqil_ros.quant.cpu import Cpu, layer_weights
from sqil_ros.quant.layer_checks import check_adapter, check_inputs, check_layer
from sqil_ros.quant.packing import pack, unpack
from sqil_ros.quant.primitives import (
    Grid,
    Quantized,
    Steps,
    dequantize,
    fake_quantize,
    quantize,
)


class PackedLinear(nn.Linear):
    """A linear layer that computes from packed integers.

    It is an ``nn.Linear`` whose ``weight`` is computed on demand, so that code which looks at a
    layer's weight (LoRA adapters, dtype look-ups) works; nothing keeps that tensor.

    Attributes:
        packed: uint8 storage in the layout of the layer's back-end.
        scale: (out,) or (out, groups) float32.
        zero: int8 of the shape of ``scale``, or None.
        bias: (out,) or None.
        bits: width of a code.
        input_rule: how inputs are rounded, None for inputs in floating point.
        input_step: () float32 static step of the inputs, None for a step per token.
        down: (rank, in) first matrix of a low-rank change beside the integers, or None.
        up: (out, rank) its second matrix, or None.
        shape: what back-ends know about the layer.
    """

    packed: Tensor
    scale: Tensor
    zero: Tensor | None
    input_step: Tensor | None
    down: Tensor | None
    up: Tensor | None
    bias: nn.Parameter | None  # type: ignore[assignment]

    def __init__(
        self,
        packed: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        in_features: int,
        bits: int,
        back_end: str = AUTO,
        zero: Tensor | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        """Wrap portable rows.

        Args:
            packed: (out, row_bytes) uint8 of :func:`sqil_ros.quant.packing.pack`.
            scale: (out,) or (out, groups) steps.
            bias: (out,) or None.
            in_features: length of an input vector.
            bits: width of a code, 2 to 8.
            back_end: a name of :data:`sqil_ros.quant.back_ends.BACK_ENDS` or ``auto``.
            zero: int8 codes that stand for 0, of the shape of ``scale``; None for a symmetric
                grid.
            inputs: how they are rounded; None for inputs in floating point.

        Raises:
            ProfileError: the shapes do not belong together, a scale is not a positive number, or
                the back-end cannot serve the layer.
            ParameterError: the activations have another width.
        """
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bits = in_features, len(scale), bits
        groups = 1 if scale.ndim < 2 else scale.shape[1]
        self.shape = LayerShape(self.out_features, in_features, bits, groups, zero is None)
        check_layer(packed, Steps(scale, zero), bias, self.shape)
        check_inputs(inputs)
        self.input_rule = None if inputs is None else inputs.rule
        self._back_end = choose_back_end(back_end, self.shape, packed.device)
        self.register_buffer('packed', self._back_end.prepare(packed, self.shape))
        self.register_buffer('scale', scale.to(torch.float32))
        self.register_buffer('zero', zero)
        step = None if inputs is None else inputs.step
        step = None if step is None else step.to(packed.device, torch.float32)
        self.register_buffer('input_step', step)
        self.register_buffer('down', None)
        self.register_buffer('up', None)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.train(False)

    @classmethod
    def from_quantized(
        cls,
        quantized: Quantized,
        bias: Tensor | None = None,
        back_end: str = AUTO,
        inputs: Inputs | None = None,
    ) -> PackedLinear:
        """Pack integer weights."""
        rows = pack(quantized.codes, quantized.bits)
        (scale, zero), columns = quantized.steps, quantized.codes.shape[1]
        return cls(rows, scale, bias, columns, quantized.bits, back_end, zero, inputs)

    @classmethod
    def from_linear(cls, layer: nn.Linear, grid: Grid | int, back_end: str = AUTO) -> PackedLinear:
        """Round a layer to the nearest integers and pack it."""
        return cls.from_quantized(quantize(layer.weight, grid), layer.bias, back_end)

    @property
    def back_end(self) -> str:
        """Name of the back-end that multiplies."""
        return self._back_end.name

    @property
    def portable(self) -> Tensor:
        """The rows of :mod:`sqil_ros.quant.packing`, whatever the back-end."""
        return self._back_end.restore(self.packed, self.shape)

    @property
    def quantized(self) -> Quantized:
        """The integers and scales, unpacked."""
        codes = unpack(self.portable, self.bits, self.in_features)
        return Quantized(codes, self.scale, self.bits, self.zero)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(out, in) weights, computed anew at every access; with the change beside them."""
        weight = dequantize(self.quantized)
        if self.up is None or self.down is None:
            return weight
        return weight + self.up.float() @ self.down.float()

    @property
    def tiles(self) -> Weights | None:
        """What the engine multiplies with, in this layer's memory; None with other back-ends."""
        if self.back_end != Cpu.name:
            return None
        steps = Steps(self.scale, self.zero)
        return layer_weights(self.packed, steps, self.bias, self.shape)

    @property
    def inputs(self) -> Inputs | None:
        """How the inputs are rounded."""
        return None if self.input_rule is None else self.input_rule.inputs(self.input_step)

    def use(self, back_end: str) -> None:
        """Let another back-end multiply, from the same integers.

        Raises:
            ProfileError: the back-end is unknown or cannot serve the layer.
        """
        chosen = choose_back_end(back_end, self.shape, self.packed.device)
        self.packed, self._back_end = chosen.prepare(self.portable, self.shape), chosen

    def adapt(self, down: Tensor, up: Tensor) -> None:
        """Put a low-rank change beside the integers: y = W x + up down x (SQIL, section 1.3).

        Args:
            down: (rank, in).
            up: (out, rank), with LoRA's scale in it.

        Raises:
            ProfileError: the shapes do not belong together.
        """
        check_adapter(down, up, self.shape)
        self.down, self.up = down.to(self.packed.device), up.to(self.packed.device)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out) in the dtype of ``x``; differentiable in ``x``."""
        if x.shape[-1] != self.in_features:
            raise ValueError(f'input of {x.shape[-1]} features, the layer has {self.in_features}')
        inputs = self.inputs
        if x.requires_grad and torch.is_grad_enabled():
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return linear(rounded(x, inputs), self.weight.to(x.dtype), bias)
        steps = Steps(self.scale, self.zero)
        y = self._back_end.multiply(x, self.packed, steps, self.bias, self.shape, inputs)
        # The low-rank change is trained, and stored, at 16 bits; so are its inputs.
        if self.up is not None and self.down is not None:
            y = y + linear(linear(x, self.down.to(x.dtype)), self.up.to(x.dtype))
        return y

    def reset_parameters(self) -> None:
        """Nothing: the integers come from a profile."""

    def extra_repr(self) -> str:
        """Sizes for ``print(model)``."""
        shown = [self.in_features, self.out_features, f'{self.bits} bits', self.back_end]
        if (rule := self.input_rule) is not None:
            kind = 'static' if rule.static else 'dynamic'
            shown.append(f'{rule.bits}-bit {kind} inputs{" of prompts" * rule.prompt_only}')
        if self.down is not None:
            shown.append(f'rank {len(self.down)} beside')
        return ', '.join(map(str, shown))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PackedLinear:
        """Move with the model; scales keep float32, and a new device may need a new back-end."""
        packed, scale, step = self.packed, self.scale, self.input_step
        super()._apply(fn, recurse)
        device = self.packed.device
        self.scale = scale.to(device)
        self.input_step = None if step is None else step.to(device)
        if self._back_end.refusal(self.shape, device):
            rows = self._back_end.restore(packed, self.shape)
            self._back_end = choose_back_end(AUTO, self.shape, device)
            self.packed = self._back_end.prepare(rows.to(device), self.shape)
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f'{prefix}packed'] = self.portable

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any
    ) -> None:
        key, state = f'{prefix}packed', dict(state_dict)
        if key in state:
            rows = state[key]
            scale = state.get(f'{prefix}scale', self.scale)
            zero = state.get(f'{prefix}zero', self.zero)
            check_layer(rows, Steps(scale, zero), None, self.shape)
            state[key] = self._back_end.prepare(rows, self.shape)
        super()._load_from_state_dict(state, prefix, *arguments)


class FakeQuantLinear(nn.Linear):
    """The same grid in floating point: for parity with packed layers, never for figures."""

    @classmethod
    def from_linear(cls, layer: nn.Linear, grid: Grid | int) -> FakeQuantLinear:
        """Move a layer's weights onto a grid."""
        dtype = layer.weight.dtype
        fake = cls(layer.in_features, layer.out_features, layer.bias is not None, dtype=dtype)
        fake.weight = nn.Parameter(fake_quantize(layer.weight, grid), requires_grad=False)
        if layer.bias is not None:
            fake.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
        return fake
