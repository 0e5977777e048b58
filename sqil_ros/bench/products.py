# SPDX-License-Identifier: Apache-2.0
"""Ways to multiply activations with one weight matrix, each on memory of its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import linear

from sqil_ros.bench.contestant import Contestant, Maker, copies
from sqil_ros.bench.peers import PEERS, peer_refusal
from sqil_ros.bench.shapes import Shape
from sqil_ros.engine.library import require_library
from sqil_ros.engine.tiles import InputCodes, Layer, Weights

BEYOND_CACHES = 160 << 20
"""Bytes of weights that a candidate goes through, so that none is in a cache when it is back."""

MIXED = {0: 0.05, 2: 0.4, 4: 0.38, 8: 0.13, 16: 0.04}
"""Shares of the rows by width that make 4 bits on average."""

_ONES = 0x3F803F80  # twice 1 in bfloat16
EAGER, PREPACKED, SINGLE = 'bf16, torch', 'bf16, prepacked', 'fp32, torch'
COMPILED = 'bf16, compiled'  # of whole steps


def eager(shape: Shape, x: Tensor, beyond: int) -> Contestant:
    """What a user of torch in bfloat16 gets."""
    half, size = x.bfloat16(), 2 * shape.weights
    weights = [_noise(shape) for _ in range(copies(size, beyond))]
    return Contestant(lambda turn: linear(half, weights[turn % len(weights)]), size)


def single(shape: Shape, x: Tensor, beyond: int) -> Contestant:
    """Float32: without bfloat16 instructions the faster way to multiply many rows."""
    size = 4 * shape.weights
    weights = [_noise(shape).float() for _ in range(copies(size, beyond))]
    return Contestant(lambda turn: linear(x, weights[turn % len(weights)]), size)


def prepacked(shape: Shape, x: Tensor, beyond: int) -> Contestant:
    """The weight in the layout of oneDNN: what a frozen, compiled model runs."""
    half, size = x.bfloat16(), 2 * shape.weights
    weights = [
        torch.ops.mkldnn._reorder_linear_weight(_noise(shape), len(x))
        for _ in range(copies(size, beyond))
    ]

    def work(turn: int) -> object:
        packed = weights[turn % len(weights)]
        return torch.ops.mkldnn._linear_pointwise(half, packed, None, 'none', [], '')

    return Contestant(work, size)


def native(bits: int, input_bits: int) -> Maker:
    """Ours: codes of ``bits``, inputs of ``input_bits`` (0: float32, see ``InputCodes``)."""
    return native_bands({bits: 1.0}, input_bits)


def native_bands(shares: Mapping[int, float], input_bits: int) -> Maker:
    """Ours, with rows of several widths in any order.

    Args:
        shares: of the rows by width.
        input_bits: as in :func:`native`.
    """

    def make(shape: Shape, x: Tensor, beyond: int) -> Contestant:
        bounds = [round(shape.outputs * sum([*shares.values()][:i])) for i in range(len(shares))]
        counts = [b - a for a, b in itertools.pairwise([*bounds, shape.outputs])]
        places = torch.randperm(shape.outputs).int().split(counts)
        layers: list[Layer] = []
        size = 0
        while not layers or len(layers) * size < beyond:
            bands = [
                _random_band(bits, count, shape.inputs)._replace(
                    places=at if len(shares) > 1 else None
                )
                for bits, count, at in zip(shares, counts, places, strict=True)
            ]
            layers.append(Layer(bands, InputCodes(input_bits)))
            size = sum(_bytes(band.tiles) + _bytes(band.scale) for band in bands)
        threads = torch.get_num_threads()
        return Contestant(lambda turn: layers[turn % len(layers)](x, threads), size)

    return make


def _random_band(bits: int, outputs: int, inputs: int) -> Weights:
    """Any bits are codes; pairs of bfloat16 must be numbers.

    Every page is written, because memory that never was is one page of zeros.
    """
    if bits == 0:
        return Weights(torch.empty(0, dtype=torch.int32), bits, outputs, inputs)
    words = int(require_library().sqil_tile_words(outputs, inputs, bits))
    if bits > 8:
        return Weights(torch.full((words,), _ONES, dtype=torch.int32), bits, outputs, inputs)
    tiles = torch.randint(0, 2**31 - 1, (words,), dtype=torch.int32)
    return Weights(tiles, bits, outputs, inputs, torch.full((outputs,), 0.01))


def _bytes(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.numel() * tensor.element_size()


def torch_int4(shape: Shape, x: Tensor, beyond: int) -> Contestant:
    """The 4-bit product of torch, one scale for 128 inputs."""
    group, half = 128, x.bfloat16()
    size = shape.weights // 2 + 4 * shape.weights // group
    codes = torch.randint(0, 16, (shape.outputs, shape.inputs), dtype=torch.int32)
    first = torch._convert_weight_to_int4pack_for_cpu(codes, 1)
    weights = [first.clone() for _ in range(copies(size, beyond))]
    scales = torch.ones(shape.inputs // group, shape.outputs, 2, dtype=torch.bfloat16)

    def work(turn: int) -> object:
        return torch._weight_int4pack_mm_for_cpu(half, weights[turn % len(weights)], group, scales)

    return Contestant(work, size)


def torch_int8(shape: Shape, x: Tensor, beyond: int) -> Contestant:
    """The 8-bit product of torch, one scale a row."""
    half, size = x.bfloat16(), shape.weights + 2 * shape.outputs
    codes = torch.randint(-127, 128, (shape.outputs, shape.inputs), dtype=torch.int8)
    weights = [codes.clone() for _ in range(copies(size, beyond))]
    scales = torch.ones(shape.outputs, dtype=torch.bfloat16)
    return Contestant(
        lambda turn: torch._weight_int8pack_mm(half, weights[turn % len(weights)], scales), size
    )


CONTESTANTS: Mapping[str, Maker] = {
    EAGER: eager,
    PREPACKED: prepacked,
    SINGLE: single,
    'torch int4, g128': torch_int4,
    'torch int8': torch_int8,
    **PEERS,
    'engine bf16': native(16, 16),
    **{f'engine W{bits}A16': native(bits, 16) for bits in (8, 4, 3, 2)},
    **{f'engine W{bits}A8': native(bits, 8) for bits in (8, 4, 3, 2)},
    'engine mixed A16': native_bands(MIXED, 16),
    'engine mixed A8': native_bands(MIXED, 8),
}
"""Both baselines, peers, and the engine."""


def refusal(name: str, shape: Shape) -> str:
    """Why a contestant cannot serve a shape; empty if it can."""
    if name in PEERS:
        return peer_refusal(name, shape)
    if name.startswith('torch int4') and shape.inputs % 128:
        return f'it serves multiples of 128 inputs, not {shape.inputs}'
    if name.startswith('engine'):
        return ''
    if name == PREPACKED and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return 'oneDNN has no bfloat16 on this processor'
    return ''


def read_test(threads: int, size: int = BEYOND_CACHES) -> Contestant:
    """The machine's limit: reading so many bytes, by default more than its caches hold."""
    words = torch.full((size // 4,), _ONES, dtype=torch.int32)
    library = require_library()
    return Contestant(
        lambda turn: library.sqil_read(words.data_ptr(), words.numel(), threads), 4 * words.numel()
    )


def _noise(shape: Shape) -> Tensor:
    return torch.randn(shape.outputs, shape.inputs).bfloat16()
