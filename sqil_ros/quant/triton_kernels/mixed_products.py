# SPDX-License-Identifier: Apache-2.0
"""The launch of :mod:`.mixed_rows`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sqil_ros.quant.primitives import Steps
from sqil_ros.quant.triton_kernels.codes import LIFT
from sqil_ros.quant.triton_kernels.mixed_rows import mixed_rows
from sqil_ros.quant.triton_kernels.products import FEW_WORDS

_PACKED = (2, 3, 4, 8)


def mixed_product(
    x: Tensor,
    tiles: Tensor,
    words: Mapping[int, Tensor],
    kept: Tensor | None,
    steps: Steps,
    places: Tensor,
    bias: Tensor | None,
    y: Tensor,
) -> None:
    """Activations times rows of several widths.

    Args:
        x: (N, in) contiguous.
        tiles: (tiles, 4) int32.
        words: (rows, row_words) int32 by width.
        kept: (rows, in) bfloat16 rows at 16 bits, or None.
        steps: of all rows, in the order of bands.
        places: int32 outputs of all rows, likewise.
        bias: (out,) or None.
        y: (N, out) that is filled.
    """
    held = [words.get(bits, tiles) for bits in _PACKED]
    with torch.cuda.device_of(x):
        mixed_rows[(len(x), len(tiles))](
            x, tiles, *held, x if kept is None else kept, steps.scale,
            tiles if steps.zero is None else steps.zero, places, x if bias is None else bias, y,
            x.shape[1], y.shape[1], *[each.shape[1] for each in held],
            0 if kept is None else kept.stride(0), LIFT,
            HAS_ZERO=steps.zero is not None, HAS_BIAS=bias is not None, WORDS=FEW_WORDS,
            num_warps=1,
        )  # fmt: skip
