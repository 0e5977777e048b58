# SPDX-License-Identifier: Apache-2.0
"""Who multiplies packed weights: one small interface, chosen by name.

A back-end may lay the packed bytes out anew when a layer is loaded (``prepare``) and can give the
portable bytes back (``restore``), so what is saved never depends on the machine. The scale is
applied to the product in the scale's own precision, never folded into a narrower type.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from sqil_ros.errors import ProfileError
from sqil_ros.quant.activations import Inputs, rounded
from sqil_ros.quant.cpu import Cpu
from sqil_ros.quant.cuda import Cuda
from sqil_ros.quant.layer_shape import LayerShape
from sqil_ros.quant.packing import pack, unpack
from sqil_ros.quant.primitives import Quantized, Steps, dequantize

AUTO = 'auto'


class BackEnd(Protocol):
    """Computes ``x @ (scale * (codes - zero)).T + bias`` from packed storage, x rounded first."""

    name: str

    def refusal(self, shape: LayerShape, device: torch.device) -> str:
        """Why this back-end cannot serve a layer; empty if it can."""

    def prepare(self, packed: Tensor, shape: LayerShape) -> Tensor:
        """Portable rows of :mod:`sqil_ros.quant.packing` to this back-end's uint8 storage."""

    def restore(self, storage: Tensor, shape: LayerShape) -> Tensor:
        """Inverse of :meth:`prepare`."""

    def multiply(
        self,
        x: Tensor,
        storage: Tensor,
        steps: Steps,
        bias: Tensor | None,
        shape: LayerShape,
        inputs: Inputs | None = None,
    ) -> Tensor:
        """(..., in) activations to (..., out) in their own dtype."""


class Reference:
    """Unpack, dequantise, multiply: any device and shape, the fake-quantised layer bit for bit."""

    name = 'reference'

    def refusal(self, shape: LayerShape, device: torch.device) -> str:
        """It serves everything."""
        return ''

    def prepare(self, packed: Tensor, shape: LayerShape) -> Tensor:
        """The portable rows themselves."""
        return packed

    def restore(self, storage: Tensor, shape: LayerShape) -> Tensor:
        """The portable rows themselves."""
        return storage

    def multiply(
        self,
        x: Tensor,
        storage: Tensor,
        steps: Steps,
        bias: Tensor | None,
        shape: LayerShape,
        inputs: Inputs | None = None,
    ) -> Tensor:
        """Dense product with the unpacked weights."""
        codes = unpack(storage, shape.bits, shape.in_features)
        weight = dequantize(Quantized(codes, steps.scale, shape.bits, steps.zero), x.dtype)
        return linear(rounded(x, inputs), weight, None if bias is None else bias.to(x.dtype))


class TorchCpu:
    """torch's own low-bit products: fast for one row, at the price of bfloat16 activations.

    Up to 4 bits the codes sit in nibbles (2 and 3 bits gain speed but no memory over 4). 8 bits
    with float32 activations are converted on the fly and stay exact, because torch's 8-bit
    product is scalar code in float32.
    """

    name = 'torch_cpu'

    def refusal(self, shape: LayerShape, device: torch.device) -> str:
        """It needs a CPU, nibbles or bytes, one scale a row, and private operators of torch."""
        if device.type != 'cpu':
            return f'it runs on the CPU only, the layer is on {device}'
        if shape.bits > 4 and shape.bits != 8:
            return f'it serves 2, 3, 4 and 8 bits, the layer has {shape.bits}'
        if shape.groups > 1:
            return f'it serves one scale per row, the layer has {shape.groups}'
        if shape.bits == 8 and not shape.symmetric:
            return 'it serves zero points up to 4 bits, the layer has 8'
        operator = '_weight_int8pack_mm' if shape.bits == 8 else '_weight_int4pack_mm_for_cpu'
        return '' if hasattr(torch, operator) else f'torch {torch.__version__} lacks {operator}'

    def prepare(self, packed: Tensor, shape: LayerShape) -> Tensor:
        """Bytes of signed codes, or torch's nibble tiles; zeros fill up to whole tiles."""
        codes = unpack(packed, shape.bits, shape.in_features)
        columns = _round_up(shape.in_features, _COLUMN_TILE) - shape.in_features
        if shape.bits == 8:
            return pad(codes, (0, columns)).contiguous().view(torch.uint8)
        rows = _round_up(shape.out_features, _ROW_TILE) - shape.out_features
        nibbles = pad(codes, (0, columns, 0, rows)).to(torch.int32) + _NIBBLE_ZERO
        return torch._convert_weight_to_int4pack_for_cpu(nibbles, 1)

    def restore(self, storage: Tensor, shape: LayerShape) -> Tensor:
        """Portable rows; the tiles differ between CPUs, so they are read through the operator."""
        if shape.bits == 8:
            codes = storage.view(torch.int8)
        else:
            codes = _int4_product(torch.eye(storage.shape[1] * 2, dtype=torch.bfloat16), storage)
            codes = codes.t().to(torch.int8)
        return pack(codes[: shape.out_features, : shape.in_features], shape.bits)

    def multiply(
        self,
        x: Tensor,
        storage: Tensor,
        steps: Steps,
        bias: Tensor | None,
        shape: LayerShape,
        inputs: Inputs | None = None,
    ) -> Tensor:
        """Product with the codes, then the scale."""
        rows = rounded(x, inputs).reshape(-1, shape.in_features)
        if missing := -shape.in_features % _COLUMN_TILE:
            rows = pad(rows, (0, missing))
        if shape.bits == 8:
            y = _int8_product(rows, storage.view(torch.int8))
        else:
            y = _int4_product(rows.to(torch.bfloat16), storage, steps.zero)
            y = y if y.shape[1] == shape.out_features else y[:, : shape.out_features]
        y = y.float().mul_(steps.scale)
        if bias is not None:
            y.add_(bias)
        return y.to(x.dtype).view(*x.shape[:-1], shape.out_features)


_NIBBLE_ZERO = 8  # the nibble that torch's operator reads as zero
_ROW_TILE, _COLUMN_TILE = 16, 32
_GROUPS = (256, 128, 64, 32)
_ALIGNMENT = 64


def _round_up(value: int, tile: int) -> int:
    return -(-value // tile) * tile


@lru_cache(maxsize=256)
def _unit_scales(rows: int, columns: int) -> tuple[int, Tensor]:
    """The largest scale group that divides the columns, and scales of one for all its groups.

    The operator wants a scale and a zero point per group. Ones, shared by all layers of a shape,
    take no memory per layer and leave the rows' true scales in float32.
    """
    group = next(group for group in _GROUPS if columns % group == 0)
    scales = torch.zeros(columns // group, rows, 2, dtype=torch.bfloat16)
    scales[..., 0] = 1.0
    return group, scales


@lru_cache(maxsize=256)
def _ones(rows: int) -> Tensor:
    return torch.ones(rows, dtype=torch.bfloat16)


def _int4_product(x: Tensor, storage: Tensor, zero: Tensor | None = None) -> Tensor:
    """(N, in) bfloat16 times tiles of nibbles less (out,) zero points: (N, out), unscaled."""
    group, scales = _unit_scales(storage.shape[0], storage.shape[1] * 2)
    if zero is not None:  # what the operator adds to a code; small integers are exact in bfloat16
        scales = scales.clone()
        scales[:, : len(zero), 1] = -zero
    return torch._weight_int4pack_mm_for_cpu(x, storage, group, scales)


def _int8_product(x: Tensor, codes: Tensor) -> Tensor:
    """(N, in) times (out, in) int8 codes, unscaled."""
    if x.dtype != torch.bfloat16:
        return linear(x.float(), codes.to(torch.float32))
    # torch's operator loads aligned vectors of 16 without looking: another address or a row that
    # is no multiple of 16 crashes the process (seen with torch 2.13).
    if x.data_ptr() % _ALIGNMENT:
        x = x.clone()
    return torch._weight_int8pack_mm(x, codes, _ones(codes.shape[0]))


BACK_ENDS: dict[str, BackEnd] = {
    back_end.name: back_end for back_end in (Cpu(), TorchCpu(), Cuda(), Reference())
}


def choose_back_end(name: str, shape: LayerShape, device: torch.device) -> BackEnd:
    """The back-end of a name, or with ``auto`` the first in :data:`BACK_ENDS` that can serve.

    Raises:
        ProfileError: the name is unknown or the back-end cannot serve the layer.
    """
    if name == AUTO:
        return next(b for b in _automatic(device) if not b.refusal(shape, device))
    if name not in BACK_ENDS:
        raise ProfileError(
            f'there is no back-end {name!r}; choose one of {[AUTO, *sorted(BACK_ENDS)]}'
        )
    if reason := BACK_ENDS[name].refusal(shape, device):
        raise ProfileError(f'back-end {name} refuses a layer: {reason}; choose {AUTO!r}')
    return BACK_ENDS[name]


def _automatic(device: torch.device) -> Iterator[BackEnd]:
    """What ``auto`` asks; on a CPU kernels for GPUs are interpreted, which is for tests only."""
    return (b for b in BACK_ENDS.values() if b.name != Cuda.name or device.type == 'cuda')
