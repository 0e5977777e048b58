# SPDX-License-Identifier: Apache-2.0
"""Codes to bytes and back, at exactly ``bits`` bits per weight.

Every row is a little-endian bit stream of offset codes (``code + 2^(bits-1)``, so all bits zero is
the lowest code), padded to whole 32-bit words. Those are the bytes of compressed-tensors'
``pack-quantized`` rows, so an exporter only has to view them as int32. Three bits are really three
bits: eight codes fill three bytes.
"""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor
from torch.nn.functional import pad

from sqil_ros.errors import ProfileError
from sqil_ros.quant.primitives import code_range

WORD_BYTES = 4


def row_bytes(in_features: int, bits: int) -> int:
    """Bytes of one packed row."""
    return -(-in_features * bits // (8 * WORD_BYTES)) * WORD_BYTES


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack integer codes.

    Args:
        codes: (out, in) int8 within the range of ``bits``.
        bits: width of a code, 2 to 8.

    Returns:
        (out, row_bytes) uint8.

    Raises:
        ProfileError: a code lies outside the range of ``bits``.
    """
    lowest, highest = code_range(bits)
    rows, in_features = codes.shape
    if codes.numel() and (int(codes.min()) < lowest or int(codes.max()) > highest):
        raise ProfileError(
            f'codes from {int(codes.min())} to {int(codes.max())} do not fit {bits} bits '
            f'({lowest} to {highest}); quantise to a larger width'
        )
    per_group, group_bytes, word = _group(bits)
    groups = -(-in_features // per_group)
    offset = pad(codes.to(torch.int16) - lowest, (0, groups * per_group - in_features))
    offset = offset.to(word).view(rows, groups, per_group)
    stream = torch.zeros(rows, groups, dtype=word, device=codes.device)
    for index in range(per_group):
        stream |= offset[..., index] << (bits * index)
    packed = torch.empty(rows, groups, group_bytes, dtype=torch.uint8, device=codes.device)
    for index in range(group_bytes):
        packed[..., index] = (stream >> (8 * index)) & 0xFF
    width = row_bytes(in_features, bits)
    flat = packed.view(rows, groups * group_bytes)
    return pad(flat, (0, max(0, width - flat.shape[1])))[:, :width].contiguous()


def unpack(packed: Tensor, bits: int, in_features: int) -> Tensor:
    """Unpack to (out, in) int8: the inverse of :func:`pack`.

    Raises:
        ProfileError: the rows are not as long as ``in_features`` codes of ``bits`` bits are.
    """
    lowest, _ = code_range(bits)
    expected = row_bytes(in_features, bits)
    if packed.ndim != 2 or packed.dtype != torch.uint8 or packed.shape[1] != expected:
        raise ProfileError(
            f'packed weights of shape {tuple(packed.shape)} and type {packed.dtype} are not '
            f'(rows, {expected}) uint8, which {in_features} codes of {bits} bits need; '
            'write the profile again with sqil-quantize'
        )
    rows = packed.shape[0]
    per_group, group_bytes, word = _group(bits)
    groups = -(-in_features // per_group)
    missing = groups * group_bytes - expected
    if missing > 0:
        packed = pad(packed, (0, missing))
    stream = packed[:, : groups * group_bytes].unflatten(1, (groups, group_bytes)).to(word)
    value = stream[..., 0]
    for index in range(1, group_bytes):
        value = value | (stream[..., index] << (8 * index))
    codes = torch.empty(rows, groups, per_group, dtype=torch.int8, device=packed.device)
    mask = (1 << bits) - 1
    for index in range(per_group):
        codes[..., index] = (value >> (bits * index)) & mask
    # The offset is taken off in int8, where 128 wraps round to the same bits.
    return codes.view(rows, groups * per_group)[:, :in_features].add_(lowest)


def _group(bits: int) -> tuple[int, int, torch.dtype]:
    """Codes and bytes of the smallest run that ends on a byte, and an integer that holds it."""
    shared = gcd(8, bits)
    size = bits // shared
    word = torch.uint8 if size == 1 else torch.int32 if size <= 3 else torch.int64
    return 8 // shared, size, word
