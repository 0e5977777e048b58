# SPDX-License-Identifier: Apache-2.0
"""Linear layers on the integer grid: packed (what runs) and fake (what training sees)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sqil_ros.errors import ProfileError
from sqil_ros.quant.back_ends import AUTO, LayerShape, choose_back_end
from sqil_ros.quant.packing import pack, row_bytes, unpack
from sqil_ros.quant.primitives import Quantized, dequantize, fake_quantize, quantize


class PackedLinear(nn.Linear):
    """A linear layer that computes from packed integers.

    It is an ``nn.Linear`` whose ``weight`` is computed on demand, so that code which looks at a
    layer's weight (LoRA adapters, dtype look-ups) works; nothing keeps that tensor.

    Attributes:
        packed: uint8 storage in the layout of the layer's back-end.
        scale: (out,) float32.
        bias: (out,) or None.
        bits: width of a code.
        shape: what back-ends know about the layer.
    """

    packed: Tensor
    scale: Tensor
    bias: nn.Parameter | None  # type: ignore[assignment]

    def __init__(
        self,
        packed: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        in_features: int,
        bits: int,
        back_end: str = AUTO,
    ) -> None:
        """Wrap portable rows.

        Args:
            packed: (out, row_bytes) uint8 of :func:`sqil_ros.quant.packing.pack`.
            scale: (out,) steps.
            bias: (out,) or None.
            in_features: length of an input vector.
            bits: width of a code, 2 to 8.
            back_end: a name of :data:`sqil_ros.quant.back_ends.BACK_ENDS` or ``auto``.

        Raises:
            ProfileError: the shapes do not belong together, a scale is not a positive number, or
                the back-end cannot serve the layer.
        """
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bits = in_features, len(scale), bits
        self.shape = LayerShape(self.out_features, in_features, bits)
        _check(packed, scale, bias, self.shape)
        self._back_end = choose_back_end(back_end, self.shape, packed.device)
        self.register_buffer('packed', self._back_end.prepare(packed, self.shape))
        self.register_buffer('scale', scale.to(torch.float32))
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.train(False)

    @classmethod
    def from_quantized(
        cls, quantized: Quantized, bias: Tensor | None = None, back_end: str = AUTO
    ) -> PackedLinear:
        """Pack integer weights."""
        rows = pack(quantized.codes, quantized.bits)
        columns = quantized.codes.shape[1]
        return cls(rows, quantized.scale, bias, columns, quantized.bits, back_end)

    @classmethod
    def from_linear(cls, layer: nn.Linear, bits: int, back_end: str = AUTO) -> PackedLinear:
        """Round a layer to the nearest integers and pack it."""
        return cls.from_quantized(quantize(layer.weight, bits), layer.bias, back_end)

    @property
    def back_end(self) -> str:
        """Name of the back-end that multiplies."""
        return self._back_end.name

    @property
    def quantized(self) -> Quantized:
        """The integers and scales, unpacked."""
        rows = self._back_end.restore(self.packed, self.shape)
        return Quantized(unpack(rows, self.bits, self.in_features), self.scale, self.bits)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(out, in) weights, computed anew at every access."""
        return dequantize(self.quantized)

    def use(self, back_end: str) -> None:
        """Let another back-end multiply, from the same integers.

        Raises:
            ProfileError: the back-end is unknown or cannot serve the layer.
        """
        chosen = choose_back_end(back_end, self.shape, self.packed.device)
        rows = self._back_end.restore(self.packed, self.shape)
        self.packed, self._back_end = chosen.prepare(rows, self.shape), chosen

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out) in the dtype of ``x``; differentiable in ``x``."""
        if x.shape[-1] != self.in_features:
            raise ValueError(f'input of {x.shape[-1]} features, the layer has {self.in_features}')
        if x.requires_grad and torch.is_grad_enabled():
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return linear(x, self.weight.to(x.dtype), bias)
        return self._back_end.multiply(x, self.packed, self.scale, self.bias, self.shape)

    def reset_parameters(self) -> None:
        """Nothing: the integers come from a profile."""

    def extra_repr(self) -> str:
        """Sizes for ``print(model)``."""
        return f'{self.in_features}, {self.out_features}, {self.bits} bits, {self.back_end}'

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PackedLinear:
        """Move with the model; scales keep float32, and a new device may need a new back-end."""
        packed, scale = self.packed, self.scale
        super()._apply(fn, recurse)
        device = self.packed.device
        self.scale = scale.to(device)
        if self._back_end.refusal(self.shape, device):
            rows = self._back_end.restore(packed, self.shape)
            self._back_end = choose_back_end(AUTO, self.shape, device)
            self.packed = self._back_end.prepare(rows.to(device), self.shape)
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f'{prefix}packed'] = self._back_end.restore(self.packed, self.shape)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any
    ) -> None:
        key, state = f'{prefix}packed', dict(state_dict)
        if key in state:
            rows = state[key]
            _check(rows, state.get(f'{prefix}scale', self.scale), None, self.shape)
            state[key] = self._back_end.prepare(rows, self.shape)
        super()._load_from_state_dict(state, prefix, *arguments)


class FakeQuantLinear(nn.Linear):
    """The same grid in floating point: for parity with packed layers, never for figures."""

    @classmethod
    def from_linear(cls, layer: nn.Linear, bits: int) -> FakeQuantLinear:
        """Move a layer's weights onto the grid of a width."""
        dtype = layer.weight.dtype
        fake = cls(layer.in_features, layer.out_features, layer.bias is not None, dtype=dtype)
        fake.weight = nn.Parameter(fake_quantize(layer.weight, bits), requires_grad=False)
        if layer.bias is not None:
            fake.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
        return fake


def _check(packed: Tensor, scale: Tensor, bias: Tensor | None, shape: LayerShape) -> None:
    expected = (shape.out_features, row_bytes(shape.in_features, shape.bits))
    if tuple(packed.shape) != expected or packed.dtype != torch.uint8:
        raise ProfileError(
            f'packed weights are {tuple(packed.shape)} {packed.dtype}; {shape.bits} bits for '
            f'({shape.out_features}, {shape.in_features}) need {expected} uint8. '
            'Write the profile again with sqil-quantize.'
        )
    if scale.ndim != 1 or not scale.dtype.is_floating_point:
        raise ProfileError(
            f'scales are {tuple(scale.shape)} {scale.dtype}; one float per output row is needed. '
            'Write the profile again with sqil-quantize.'
        )
    if not scale.is_meta and not bool((torch.isfinite(scale) & (scale > 0)).all()):
        raise ProfileError(
            'a scale is not a positive number; write the profile again with sqil-quantize'
        )
    if bias is not None and tuple(bias.shape) != (shape.out_features,):
        raise ProfileError(
            f'the bias has shape {tuple(bias.shape)}; {shape.out_features} outputs need as many.'
        )
