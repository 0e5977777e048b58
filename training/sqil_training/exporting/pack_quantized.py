# SPDX-License-Identifier: Apache-2.0
"""Integer weights in compressed-tensors' ``pack-quantized`` format, and back.

Every layer has ``weight_packed`` (int32 words of a little-endian bit stream of offset codes),
``weight_scale``, ``weight_shape`` and, with zero points, ``weight_zero_point`` (packed down the
columns). transformers and vLLM read them by ``quantization_config`` in ``config.json``.

2, 4 and 8 bits lie alike in all versions of the library. 3, 5, 6 and 7 bits are dense from 0.18
on (its pull request 732); earlier versions leave bits of each word empty and refuse these rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sqil_ros.errors import ProfileError
from sqil_ros.quant.manifest import LayerGroup, Profile
from sqil_ros.quant.packing import pack, unpack
from sqil_ros.quant.primitives import WHOLE_ROW, Grid, Quantized, code_range

FORMAT = 'pack-quantized'
EVERY_VERSION = (2, 4, 8)
"""Widths that every version of compressed-tensors packs alike; for the others see above."""

_PARTS = ('weight_packed', 'weight_scale', 'weight_shape')
_ZERO = 'weight_zero_point'


def refusal(profile: Profile) -> str:
    """Why the format cannot hold a profile; empty if it can."""
    widths = {group.inputs.bits for group in profile.groups if group.inputs is not None}
    if not widths:
        return ''
    bits = max(widths)
    highest = code_range(bits)[1]
    return (
        f'it rounds the inputs of its layers to {bits} bits with steps of max|x| / {highest}, '
        f'compressed-tensors with max|x| / {highest}.5, so that other numbers would come out. '
        'Export a profile that was made without --activation-bits.'
    )


def quantization_config(groups: Sequence[LayerGroup], kept: Sequence[str]) -> dict[str, Any]:
    """What ``config.json`` says about the weights.

    Args:
        groups: the quantised layers; those on one grid become one group.
        kept: linear layers that are not quantised.
    """
    layers: dict[Grid, list[str]] = {}
    for group in groups:
        layers.setdefault(group.grid, []).extend(group.layers)
    return {
        'quant_method': 'compressed-tensors',
        'format': FORMAT,
        'quantization_status': 'compressed',
        'config_groups': {
            f'group_{index}': _scheme(grid, targets)
            for index, (grid, targets) in enumerate(layers.items())
        },
        'ignore': list(kept),
        'kv_cache_scheme': None,
        'global_compression_ratio': None,
    }


def layer_tensors(weights: Quantized) -> dict[str, Tensor]:
    """The tensors of a layer by the ends of their names.

    Returns:
        ``weight_packed`` (out, words) int32, ``weight_scale`` (out, groups) float32,
        ``weight_shape`` (2,) int64 and, with zero points, ``weight_zero_point`` (words, groups)
        int32.
    """
    rows = len(weights.codes)
    tensors = {
        'weight_packed': pack(weights.codes, weights.bits).view(torch.int32),
        'weight_scale': weights.scale.float().reshape(rows, -1),
        'weight_shape': torch.tensor(weights.codes.shape),
    }
    if weights.zero is not None:
        columns = weights.zero.reshape(rows, -1).t()
        tensors[_ZERO] = pack(columns, weights.bits).view(torch.int32).t()
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def layer_weights(name: str, group: LayerGroup, tensors: Mapping[str, Tensor]) -> Quantized:
    """The integers of a layer; inverse of :func:`layer_tensors`.

    Args:
        name: of the layer.
        group: that it belongs to.
        tensors: of the whole file by their full names.

    Raises:
        ProfileError: a tensor is missing, or of another shape than the others need.
    """
    wanted = [*_PARTS, *([] if group.symmetric else [_ZERO])]
    missing = [part for part in wanted if f'{name}.{part}' not in tensors]
    if missing:
        raise ProfileError(f'{missing} of layer {name} are missing; export the profile again.')
    packed, scale, shape = (tensors[f'{name}.{part}'] for part in _PARTS)
    rows, columns = shape.tolist()
    if len(packed) != rows or len(scale) != rows:
        raise ProfileError(
            f'layer {name} has {len(packed)} rows and {len(scale)} scales, its shape says {rows}; '
            'export the profile again.'
        )
    codes = unpack(packed.contiguous().view(torch.uint8), group.bits, columns)
    zero = None
    if not group.symmetric:
        words = tensors[f'{name}.{_ZERO}'].t().contiguous()
        zero = unpack(words.view(torch.uint8), group.bits, rows).t().contiguous()
    if scale.shape[1] == 1:
        scale, zero = scale[:, 0], None if zero is None else zero[:, 0]
    return Quantized(codes, scale, group.bits, zero)


def _scheme(grid: Grid, targets: Sequence[str]) -> dict[str, Any]:
    whole = grid.group_size == WHOLE_ROW
    return {
        'targets': list(targets),
        'weights': {
            'num_bits': grid.bits,
            'type': 'int',
            'symmetric': grid.symmetric,
            'strategy': 'channel' if whole else 'group',
            'group_size': None if whole else grid.group_size,
            'dynamic': False,
        },
        'input_activations': None,
        'output_activations': None,
        'format': FORMAT,
    }
