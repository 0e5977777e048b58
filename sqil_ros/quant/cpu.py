# SPDX-License-Identifier: Apache-2.0
"""The back-end that multiplies in the engine: packed weights, float32 activations, any CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from sqil_ros.engine.library import library
from sqil_ros.engine.tiles import (
    COLUMN_BLOCK,
    FLOATS,
    HALVES,
    PACKED_WIDTHS,
    InputCodes,
    Weights,
    multiply,
    rows_from_tiles,
    tiles_from_rows,
)
from sqil_ros.quant.activations import Inputs
from sqil_ros.quant.layer_shape import LayerShape
from sqil_ros.quant.primitives import Steps


class Cpu:
    """Products that lose nothing but the bits of weights and inputs.

    Sums are float32, or integers where inputs are rounded and the processor can.
    """

    name = 'cpu'

    def refusal(self, shape: LayerShape, device: torch.device) -> str:
        """It needs its library, a CPU, a width that it knows, and groups of whole blocks."""
        if device.type != 'cpu':
            return f'it runs on the CPU only, the layer is on {device}'
        if shape.bits not in PACKED_WIDTHS:
            return f'it serves {PACKED_WIDTHS} bits, the layer has {shape.bits}'
        if shape.groups > 1 and shape.in_features // shape.groups % COLUMN_BLOCK:
            return (
                f'it serves groups of a multiple of {COLUMN_BLOCK} inputs, the layer has '
                f'{shape.in_features // shape.groups}'
            )
        return '' if library() is not None else 'its library is not built; run `make setup`'

    def prepare(self, packed: Tensor, shape: LayerShape) -> Tensor:
        """Bytes of the engine's tiles."""
        tiles = tiles_from_rows(packed, shape.out_features, shape.in_features, shape.bits)
        return tiles.view(torch.uint8)

    def restore(self, storage: Tensor, shape: LayerShape) -> Tensor:
        """Portable rows."""
        return rows_from_tiles(storage, shape.out_features, shape.in_features, shape.bits)

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
        weights = layer_weights(storage, steps, bias, shape)
        rows = x.reshape(-1, shape.in_features).float()
        y = multiply(rows, [weights], torch.get_num_threads(), input_codes(inputs, x.dtype, x))
        return y.to(x.dtype).view(*x.shape[:-1], shape.out_features)


def input_codes(inputs: Inputs | None, dtype: torch.dtype, x: Tensor | None = None) -> InputCodes:
    """What the engine is told of inputs.

    Args:
        inputs: how they are rounded.
        dtype: that torch holds them in; bfloat16 loses nothing by products in bfloat16.
        x: given where it is known whether just these are rounded.
    """
    if inputs is None or (x is not None and not inputs.meant_for(x)):
        return HALVES if dtype == torch.bfloat16 else FLOATS
    step = 0.0 if inputs.step is None else float(inputs.step)
    return InputCodes(inputs.bits, step, inputs.prompt_only)


def layer_weights(
    storage: Tensor, steps: Steps, bias: Tensor | None, shape: LayerShape
) -> Weights:
    """A prepared layer for the engine, without a copy."""
    return Weights(
        storage,
        shape.bits,
        shape.out_features,
        shape.in_features,
        steps.scale.contiguous(),
        None if steps.zero is None else steps.zero.contiguous(),
        None if bias is None else bias.float().contiguous(),
    )
