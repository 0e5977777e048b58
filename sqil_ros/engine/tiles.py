# SPDX-License-Identifier: Apache-2.0
"""Weights in the engine's layout (``native/layout.h``), and products with them."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from sqil_ros.engine.library import require_library
from sqil_ros.engine.structures import Linear

PACKED_WIDTHS = (2, 3, 4, 8)
COLUMN_BLOCK = 32
_BFLOAT16, _FLOAT32 = 16, 32


class Weights(NamedTuple):
    """A layer's weights as the engine reads them.

    Attributes:
        tiles: int32 words.
        bits: width of a weight; 16 is bfloat16, 32 is float32.
        rows: length of an output vector.
        columns: length of an input vector.
        scale: (out,) or (out, groups) contiguous float32; None for 16 and 32 bits.
        zero: int8 of the shape of ``scale``, or None.
        bias: (out,) contiguous float32, or None.
    """

    tiles: Tensor
    bits: int
    rows: int
    columns: int
    scale: Tensor | None = None
    zero: Tensor | None = None
    bias: Tensor | None = None


def tiles_from_rows(packed: Tensor, rows: int, columns: int, bits: int) -> Tensor:
    """Portable rows of :mod:`sqil_ros.quant.packing` to int32 tiles."""
    tiles = _room(rows, columns, bits)
    packed = packed.contiguous()
    require_library().sqil_tiles_from_rows(
        packed.data_ptr(), rows, columns, bits, tiles.data_ptr()
    )
    return tiles


def rows_from_tiles(tiles: Tensor, rows: int, columns: int, bits: int) -> Tensor:
    """Inverse of :func:`tiles_from_rows`: (rows, bytes) uint8."""
    packed = torch.empty(rows, -(-columns * bits // 32) * 4, dtype=torch.uint8)
    require_library().sqil_rows_from_tiles(
        tiles.data_ptr(), rows, columns, bits, packed.data_ptr()
    )
    return packed


def dense_weights(weight: Tensor, bias: Tensor | None = None) -> Weights:
    """A (out, in) floating-point matrix, at 16 bits where that loses nothing."""
    weight = weight.detach().float().contiguous()
    bits = _BFLOAT16 if torch.equal(weight, weight.bfloat16().float()) else _FLOAT32
    rows, columns = weight.shape
    tiles = _room(rows, columns, bits)
    require_library().sqil_tiles_from_floats(
        weight.data_ptr(), rows, columns, bits, tiles.data_ptr()
    )
    bias = None if bias is None else bias.detach().float().contiguous()
    return Weights(tiles, bits, rows, columns, bias=bias)


def linear_structure(weights: Weights, input_bits: int = 0, input_step: float = 0.0) -> Linear:
    """What the library is told; it borrows the tensors of ``weights``.

    Args:
        weights: of the layer.
        input_bits: inputs are rounded to 4 or 8 bits first; 0 for not at all.
        input_step: static step of rounded inputs; 0 for one per token.
    """
    scale, zero, bias = weights.scale, weights.zero, weights.bias
    return Linear(
        tiles=weights.tiles.data_ptr(),
        scale=None if scale is None else scale.data_ptr(),
        zero=None if zero is None else zero.data_ptr(),
        bias=None if bias is None else bias.data_ptr(),
        rows=weights.rows,
        columns=weights.columns,
        bits=weights.bits,
        groups=1 if scale is None or scale.ndim == 1 else scale.shape[1],
        input_bits=input_bits,
        input_step=input_step,
    )


def multiply(
    x: Tensor, weights: Weights, threads: int, input_bits: int = 0, input_step: float = 0.0
) -> Tensor:
    """(N, in) float32 activations to (N, out) float32; see :func:`linear_structure`."""
    missing = -weights.columns % COLUMN_BLOCK
    x = pad(x, (0, missing)) if missing else x.contiguous()
    y = torch.empty(len(x), weights.rows)
    require_library().sqil_multiply(
        ctypes.byref(linear_structure(weights, input_bits, input_step)),
        x.data_ptr(),
        x.shape[1],
        len(x),
        y.data_ptr(),
        weights.rows,
        threads,
    )
    return y


def _room(rows: int, columns: int, bits: int) -> Tensor:
    words = require_library().sqil_tile_words(rows, columns, bits)
    return torch.empty(words, dtype=torch.int32)
