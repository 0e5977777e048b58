# SPDX-License-Identifier: Apache-2.0
"""Which kernel multiplies how many rows, and in tiles of which size."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from sqil_ros.quant.layer_shape import LayerShape
from sqil_ros.quant.primitives import Steps, code_range
from sqil_ros.quant.triton_kernels.codes import LIFT
from sqil_ros.quant.triton_kernels.few_rows import few_rows
from sqil_ros.quant.triton_kernels.layout import LANES
from sqil_ros.quant.triton_kernels.many_rows import many_rows
from sqil_ros.quant.triton_kernels.round_rows import round_rows

FEW = 8
"""Rows up to which reading the weights takes longer than multiplying them."""

FEW_WORDS = 128
"""Of a row at a time: 16 bytes for every thread of a warp."""

_PROGRAMS = 1056  # of one warp: eight for each of the 132 multiprocessors of an H200
_OUTPUTS = 4
_COLUMNS = 2048


def product(
    x: Tensor,
    words: Tensor,
    steps: Steps,
    bias: Tensor | None,
    shape: LayerShape,
    places: Tensor | None = None,
    y: Tensor | None = None,
) -> Tensor:
    """Floating-point activations times codes.

    Args:
        x: (N, in) contiguous float32, bfloat16 or float16.
        words: (out, row_words) int32 of :mod:`.layout`.
        steps: of the codes.
        bias: as long as a row of the result, or None.
        shape: of the layer.
        places: (out,) int32 outputs of a wider result; None where these are all.
        y: (N, wider) result, with ``places``; other outputs are left alone.

    Returns:
        (N, out), or ``y``, in the dtype of ``x``.
    """
    if len(x) > FEW or places is not None:
        return _many(x, None, words, steps, bias, shape, x.dtype, places, y)
    y = x.new_empty(len(x), shape.out_features)
    tile = few_tile(shape)
    grid = (len(x), triton.cdiv(shape.out_features, tile['OUTPUTS']))
    with torch.cuda.device_of(x):
        few_rows[grid](
            x, words, steps.scale, _or(steps.zero, words), _or(bias, x), y,
            shape.out_features, shape.in_features, words.shape[1],
            shape.in_features // shape.groups, shape.groups, LIFT,
            BITS=shape.bits, HAS_ZERO=steps.zero is not None, HAS_BIAS=bias is not None,
            GROUPED=shape.groups > 1, num_warps=1, **tile,
        )  # fmt: skip
    return y


def product_of_codes(
    codes: Tensor,
    step: Tensor,
    words: Tensor,
    steps: Steps,
    bias: Tensor | None,
    shape: LayerShape,
    dtype: torch.dtype,
    places: Tensor | None = None,
    y: Tensor | None = None,
) -> Tensor:
    """(N, in) int8 activations of (N,) float32 steps times codes, see :func:`product`."""
    return _many(codes, step, words, steps, bias, shape, dtype, places, y)


def round_activations(x: Tensor, bits: int, static: Tensor | None) -> tuple[Tensor, Tensor]:
    """(N, in) activations to int8 codes and the (N,) float32 step of every row.

    Args:
        x: contiguous.
        bits: width of a code, 4 or 8.
        static: () float32 step, None for one a row.
    """
    codes = torch.empty_like(x, dtype=torch.int8)
    step = x.new_empty(len(x), dtype=torch.float32)
    columns = min(_COLUMNS, triton.next_power_of_2(x.shape[1]))
    with torch.cuda.device_of(x):
        round_rows[(len(x),)](
            x, _or(static, step), codes, step, x.shape[1],
            HIGHEST=code_range(bits)[1], STATIC=static is not None, COLUMNS=columns,
        )  # fmt: skip
    return codes, step


def few_tile(shape: LayerShape) -> dict[str, int]:
    """Tile of :func:`few_rows`: bytes enough on their way, work for every multiprocessor."""
    outputs = _OUTPUTS
    while outputs > 1 and triton.cdiv(shape.out_features, outputs) < _PROGRAMS:
        outputs //= 2
    return {'OUTPUTS': outputs, 'WORDS': LANES if shape.groups > 1 else FEW_WORDS}


def many_tile(rows: int, bits: int, dtype: torch.dtype) -> dict[str, int]:
    """Tile of :func:`many_rows`: tensor cores want 16 rows, 100 KB of shared memory hold 64.

    The inputs of a word's codes are there together, twice as many for 2 and 3 bits as for 4.
    """
    most = 32 if bits < 4 or dtype == torch.float32 else 64
    tokens = min(most, max(16, triton.next_power_of_2(rows)))
    return {'ROWS': tokens, 'OUTPUTS': 16 if tokens == 16 else most}


def _many(
    x: Tensor, step: Tensor | None, words: Tensor, steps: Steps, bias: Tensor | None,
    shape: LayerShape, dtype: torch.dtype, places: Tensor | None, y: Tensor | None,
) -> Tensor:  # fmt: skip
    if y is None:
        y = torch.empty(len(x), shape.out_features, dtype=dtype, device=x.device)
    tile = many_tile(len(x), shape.bits, dtype)
    grid = (
        triton.cdiv(shape.out_features, tile['OUTPUTS']),
        triton.cdiv(len(x), tile['ROWS']),
    )
    with torch.cuda.device_of(x):
        many_rows[grid](
            x, _or(step, x), words, steps.scale, _or(steps.zero, words), _or(bias, y),
            _or(places, words), y, len(x), shape.out_features, shape.in_features, words.shape[1],
            shape.in_features // shape.groups, shape.groups, y.shape[1], LIFT,
            BITS=shape.bits, CODES=step is not None, HAS_ZERO=steps.zero is not None,
            HAS_BIAS=bias is not None, HAS_PLACES=places is not None, GROUPED=shape.groups > 1,
            num_stages=2, **tile,
        )  # fmt: skip
    return y


def _or(tensor: Tensor | None, other: Tensor) -> Tensor:
    """A kernel takes a pointer even for what it does not read."""
    return other if tensor is None else tensor
