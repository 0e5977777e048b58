# SPDX-License-Identifier: Apache-2.0
"""Weights in the engine's layout (``native/layout.h``), and products with them."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
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
        bits: width of a weight; 16 is bfloat16, 32 is float32, 0 has no tiles.
        rows: length of an output vector.
        columns: length of an input vector.
        scale: (out,) or (out, groups) contiguous float32; None for 16 and 32 bits.
        zero: int8 of the shape of ``scale``, or None.
        bias: (out,) contiguous float32, or None.
        places: (out,) int32, the outputs of a layer that these are; None where these are all.
    """

    tiles: Tensor
    bits: int
    rows: int
    columns: int
    scale: Tensor | None = None
    zero: Tensor | None = None
    bias: Tensor | None = None
    places: Tensor | None = None


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


class InputCodes(NamedTuple):
    """How the inputs of a layer are rounded.

    Attributes:
        bits: 4 or 8; 16 where they may be rounded to bfloat16, in products of many rows on a
            processor that multiplies it; 0 for not at all.
        step: static step; 0 for one per token.
        prompt_only: a token that a step computes alone keeps its inputs as they are.
    """

    bits: int = 0
    step: float = 0.0
    prompt_only: bool = False


FLOATS = InputCodes()
HALVES = InputCodes(16)


def linear_structure(weights: Weights, inputs: InputCodes = FLOATS) -> Linear:
    """What the library is told; it borrows the tensors of ``weights``."""
    scale = weights.scale
    return Linear(
        tiles=weights.tiles.data_ptr(),
        scale=_address(scale),
        zero=_address(weights.zero),
        bias=_address(weights.bias),
        places=_address(weights.places),
        rows=weights.rows,
        columns=weights.columns,
        bits=weights.bits,
        groups=1 if scale is None or scale.ndim == 1 else scale.shape[1],
        input_bits=inputs.bits,
        input_step=inputs.step,
        prompt_only=inputs.prompt_only,
    )


def chain_structures(bands: Sequence[Weights], inputs: InputCodes = FLOATS) -> list[Linear]:
    """A layer in bands; the first structure stands for all, which must be kept."""
    chain = [linear_structure(band, inputs) for band in bands]
    for band, following in itertools.pairwise(chain):
        band.next = ctypes.addressof(following)
    return chain


class Layer:
    """A layer that the library was told of once; its tensors are kept."""

    def __init__(self, bands: Sequence[Weights], inputs: InputCodes = FLOATS) -> None:
        """Describe a layer.

        Args:
            bands: the layer; one, or one for every width of its rows.
            inputs: how they are rounded.
        """
        self._bands = bands
        self._chain = chain_structures(bands, inputs)
        self._first = ctypes.byref(self._chain[0])
        self._multiply = require_library().sqil_multiply
        self.rows, self.columns = sum(band.rows for band in bands), bands[0].columns

    def __call__(self, x: Tensor, threads: int) -> Tensor:
        """(N, in) float32 activations to (N, out) float32."""
        missing = -self.columns % COLUMN_BLOCK
        x = pad(x, (0, missing)) if missing else x.contiguous()
        count, width = x.shape
        y = torch.empty(count, self.rows)
        self._multiply(self._first, x.data_ptr(), width, count, y.data_ptr(), self.rows, threads)
        return y


def multiply(
    x: Tensor, bands: Sequence[Weights], threads: int, inputs: InputCodes = FLOATS
) -> Tensor:
    """One product with a :class:`Layer`: (N, in) float32 activations to (N, out) float32."""
    return Layer(bands, inputs)(x, threads)


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _room(rows: int, columns: int, bits: int) -> Tensor:
    words = require_library().sqil_tile_words(rows, columns, bits)
    return torch.empty(words, dtype=torch.int32)
