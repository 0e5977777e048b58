# SPDX-License-Identifier: Apache-2.0
"""The back-end that multiplies on NVIDIA GPUs, in kernels of our own."""

from __future__ import annotations

import importlib.util
import os
import shutil
from functools import cache

import torch
from torch import Tensor

from sqil_ros.quant.activations import Inputs
from sqil_ros.quant.layer_shape import LayerShape
from sqil_ros.quant.primitives import Steps
from sqil_ros.quant.triton_kernels.layout import LANES, WIDTHS, rows_from_words, words_from_rows

_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_OLDEST = (8, 0)


class Cuda:
    """Products from packed words: exact codes, sums in float32, or integers of rounded inputs."""

    name = 'cuda'

    def refusal(self, shape: LayerShape, device: torch.device) -> str:
        """It needs Triton, a GPU or Triton's interpreter, a width it knows, whole blocks."""
        if shape.bits not in WIDTHS:
            return f'it serves {WIDTHS} bits, the layer has {shape.bits}'
        if shape.groups > 1 and shape.in_features // shape.groups % LANES:
            return (
                f'it serves groups of a multiple of {LANES} inputs, the layer has '
                f'{shape.in_features // shape.groups}'
            )
        return device_refusal(device)

    def prepare(self, packed: Tensor, shape: LayerShape) -> Tensor:
        """(out, bytes) rows of the kernels' words."""
        return words_from_rows(packed, shape).view(torch.uint8)

    def restore(self, storage: Tensor, shape: LayerShape) -> Tensor:
        """Portable rows."""
        return rows_from_words(storage.view(torch.int32), shape)

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
        from sqil_ros.quant.triton_kernels import products  # only where there is Triton

        rows = x.reshape(-1, shape.in_features)
        rows = (rows if rows.dtype in known_types() else rows.float()).contiguous()
        words = storage.view(torch.int32)
        if inputs is None or not inputs.meant_for(x):
            y = products.product(rows, words, steps, bias, shape)
        else:
            codes, step = products.round_activations(rows, inputs.bits, inputs.step)
            y = products.product_of_codes(codes, step, words, steps, bias, shape, rows.dtype)
        return y.to(x.dtype).view(*x.shape[:-1], shape.out_features)


def device_refusal(device: torch.device) -> str:
    """Why kernels cannot run on a device; empty if they can."""
    if importlib.util.find_spec('triton') is None:
        return 'Triton is not installed; it comes with torch for CUDA'
    if device.type == 'cpu':
        return '' if interpreted() else f'it runs on NVIDIA GPUs only, the layer is on {device}'
    if device.type != 'cuda' or torch.version.cuda is None:
        return f'it runs on NVIDIA GPUs only, the layer is on {device}'
    if not any(map(shutil.which, (os.environ.get('CC', ''), 'gcc', 'clang'))):
        return 'Triton needs a C compiler once; install gcc or clang, or name one in CC'
    if (found := torch.cuda.get_device_capability(device)) < _OLDEST:
        return f'it needs compute capability {_OLDEST} or newer, {device} has {found}'
    return ''


def known_types() -> tuple[torch.dtype, ...]:
    """Triton 3.7's interpreter multiplies the bits of bfloat16 as if they were whole numbers."""
    return _TYPES[:2] if interpreted() else _TYPES


@cache
def interpreted() -> bool:
    """Whether Triton's interpreter runs kernels, on the CPU and for tests."""
    from triton import knobs

    return bool(knobs.runtime.interpret)
