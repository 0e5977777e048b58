# SPDX-License-Identifier: Apache-2.0
"""Ways to multiply on a GPU, each with copies of its weights beyond the GPU's cache."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sqil_ros.bench.contestant import copies
from sqil_ros.bench.gpu.clock import gpu_turns, graph_of
from sqil_ros.bench.products import MIXED
from sqil_ros.bench.shapes import PREFILL, SHAPES, Shape
from sqil_ros.bench.turns import ratio
from sqil_ros.quant.activations import Inputs
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.mixed_linear import MixedLinear
from sqil_ros.quant.mixed_rows import quantize_rows
from sqil_ros.quant.packing import row_bytes

BEYOND_CACHES = 512 << 20
"""Bytes of weights that a candidate goes through; an H200 has 50 MB of cache."""

HALF = 'bf16, torch'
_READ = 4 << 30
_GROUP = 128

Multiply = Callable[[Tensor], object]
Maker = Callable[[Shape], tuple[Multiply, int]]
"""From a shape to a product on weights of its own, and the bytes that it reads."""


def half(shape: Shape) -> tuple[Multiply, int]:
    """What torch does in bfloat16."""
    weight = torch.randn(shape.outputs, shape.inputs, device='cuda', dtype=torch.bfloat16)
    return lambda x: linear(x, weight), 2 * shape.weights


def torch_int4(shape: Shape) -> tuple[Multiply, int]:
    """The 4-bit product of torch (tinygemm), a scale for 128 inputs."""
    pairs = torch.randint(
        0, 256, (shape.outputs, shape.inputs // 2), dtype=torch.uint8, device='cuda'
    )
    packed = torch._convert_weight_to_int4pack(pairs, 8)
    scales = torch.ones(
        shape.inputs // _GROUP, shape.outputs, 2, dtype=torch.bfloat16, device='cuda'
    )
    size = shape.weights // 2 + 4 * shape.weights // _GROUP
    return lambda x: torch._weight_int4pack_mm(x, packed, _GROUP, scales), size


def gemlite_int4(shape: Shape) -> tuple[Multiply, int]:
    """The 4-bit product of gemlite, a scale for 128 inputs."""
    from gemlite.core import DType, GemLiteLinearTriton

    layer = GemLiteLinearTriton(
        4, group_size=_GROUP, in_features=shape.inputs, out_features=shape.outputs,
        input_dtype=DType.BF16, output_dtype=DType.BF16,
    )  # fmt: skip
    codes = torch.randint(0, 16, (shape.outputs, shape.inputs), dtype=torch.uint8, device='cuda')
    scales = torch.full(
        (shape.outputs, shape.inputs // _GROUP), 0.01, dtype=torch.bfloat16, device='cuda'
    )
    layer.pack(codes, scales, torch.full_like(scales, 8.0), None)
    return layer, shape.weights // 2 + 4 * shape.weights // _GROUP


def humming_int4(shape: Shape) -> tuple[Multiply, int]:
    """The 4-bit product of humming, a scale for 128 inputs."""
    from humming.layer import HummingLayer

    layer = HummingLayer(
        shape_n=shape.outputs, shape_k=shape.inputs, torch_dtype=torch.bfloat16,
        weight_config={
            'dtype': 'int4', 'group_size': _GROUP, 'scale_dtype': 'bfloat16',
            'has_zero_point': False,
        },
    ).to('cuda')  # fmt: skip
    for parameter in layer.parameters():
        if parameter.is_floating_point():
            parameter.data.fill_(0.01)
    layer.transform()
    return lambda x: layer(inputs=x), shape.weights // 2 + 2 * shape.weights // _GROUP


def ours(bits: int, input_bits: int | None) -> Maker:
    """The back-end ``cuda``, one scale a row."""

    def make(shape: Shape) -> tuple[Multiply, int]:
        rows = torch.randint(
            0, 256, (shape.outputs, row_bytes(shape.inputs, bits)), dtype=torch.uint8,
            device='cuda',
        )  # fmt: skip
        scale = torch.full((shape.outputs,), 0.01, device='cuda')
        inputs = None if input_bits is None else Inputs(input_bits)
        layer = PackedLinear(rows, scale, None, shape.inputs, bits, 'cuda', inputs=inputs)
        return layer, layer.packed.numel() + 4 * shape.outputs

    return make


def ours_mixed(shape: Shape) -> tuple[Multiply, int]:
    """Rows of 0 to 16 bits in random places, 4 on average."""
    counts = [round(share * shape.outputs) for share in MIXED.values()]
    widths = torch.tensor(list(MIXED)).repeat_interleave(torch.tensor(counts))
    widths = nn.functional.pad(widths, (0, shape.outputs), value=4)[: shape.outputs]
    widths = widths[torch.randperm(len(widths))].to('cuda')
    layer = MixedLinear(
        quantize_rows(torch.randn(len(widths), shape.inputs, device='cuda'), widths)
    )
    size = sum(b.numel() * b.element_size() for b in layer.buffers())
    return layer, size


CANDIDATES: Mapping[str, Maker] = {
    HALF: half,
    'torch int4, g128': torch_int4,
    'gemlite int4, g128': gemlite_int4,
    'humming int4, g128': humming_int4,
    **{f'cuda W{bits}A16': ours(bits, None) for bits in (8, 4, 3, 2)},
    **{f'cuda W{bits}A8': ours(bits, 8) for bits in (8, 4, 3, 2)},
    'cuda mixed A16': ours_mixed,
}
_PEERS = {'gemlite int4, g128': 'gemlite', 'humming int4, g128': 'humming'}


def compare_products(rounds: int) -> Iterator[dict[str, Any]]:
    """A row for every candidate, shape and number of rows."""
    read = measured_read_rate(rounds)
    for shape in SHAPES['openvla-7b']:
        for rows in (1, PREFILL['openvla-7b']):
            yield from compared(shape, rows, rounds, read)
            torch.cuda.empty_cache()


def compared(shape: Shape, rows: int, rounds: int, read: float) -> list[dict[str, Any]]:
    """All candidates at one shape."""
    x = torch.randn(rows, shape.inputs, device='cuda', dtype=torch.bfloat16)
    works: dict[str, Callable[[], None]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for name, make in CANDIDATES.items():
        if name in _PEERS and importlib.util.find_spec(_PEERS[name]) is None:
            print(f'{name} is left out: {_PEERS[name]} is not installed', flush=True)
            continue
        try:
            works[name], sizes[name] = _chain(make, shape, x)
        except Exception as error:  # a foreign library may refuse in any way
            if name not in _PEERS:
                raise
            print(f'{name} is left out at {shape}: {error!r}', flush=True)
    times = gpu_turns(works, rounds)
    half_ms = times[HALF] / sizes[HALF][1]
    return [
        product_row(shape, rows, name, own / sizes[name][1], half_ms, sizes[name][0], read)
        for name, own in times.items()
    ]


def _chain(make: Maker, shape: Shape, x: Tensor) -> tuple[Callable[[], None], tuple[int, int]]:
    """Products with one weight after the other as a graph; bytes of each, and how many."""
    first, size = make(shape)
    products = [first, *(make(shape)[0] for _ in range(copies(size, BEYOND_CACHES) - 1))]

    def multiply() -> None:
        for product in products:
            product(x)

    with torch.inference_mode():
        return graph_of(multiply), (size, len(products))


def product_row(
    shape: Shape, rows: int, name: str, own: Any, half_ms: Any, size: int, read: float
) -> dict[str, Any]:
    """What the file says of a candidate.

    Args:
        shape: of the weight.
        rows: of activations.
        name: of the candidate.
        own: its milliseconds by round.
        half_ms: those of torch in bfloat16.
        size: bytes of its weights.
        read: gigabytes that the GPU reads in a second.
    """
    median = float(np.median(own))
    return {
        'stage': 'gemv' if rows == 1 else 'gemm',
        'shape': str(shape),
        'rows': rows,
        'profile': name,
        'us_p50': round(1e3 * median, 3),
        'us_p99': round(1e3 * float(np.percentile(own, 99)), 3),
        'bytes': size,
        'GBps': round(size / median / 1e6, 1),
        'of_read': round(size / median / 1e6 / read, 3),
        'TFLOPs': round(2e-9 * rows * shape.weights / median, 2),
        'ratio_bf16': ratio(half_ms, own),
    }


def product_line(row: Mapping[str, Any]) -> str:
    """One line of a table."""
    return (
        f'{row["stage"]:5} {row["shape"]:12} {row["profile"]:20} {row["us_p50"]:9.2f} us '
        f'{row["of_read"]:6.0%} of read {row["TFLOPs"]:8.2f} TFLOP/s '
        f'{row["ratio_bf16"]:6.2f} x bf16'
    )


def measured_read_rate(rounds: int) -> float:
    """Gigabytes a second of a sum over more memory than any cache holds."""
    words = torch.ones(_READ // 4, device='cuda')
    times = gpu_turns({'read': lambda: words.sum()}, rounds)
    return float(_READ / np.median(times['read']) / 1e6)
