# SPDX-License-Identifier: Apache-2.0
"""Codes in the order in which the kernels read them, at exactly their width.

A row is a run of int32 words in blocks of ``LANES`` words. The codes of a block are those of
``LANES * codes_per_word`` neighbouring inputs; word ``w`` holds at place ``p`` the code of input
``p * LANES + w``, so that one shift of all words gives ``LANES`` neighbours. Codes are offset:
all bits zero is the lowest.

Three bits are two planes, one behind the other in a row: two low bits as above, then one word of
top bits for every pair of low words. The top bit of place ``p`` lies at ``2 p`` for the first word
of the pair and at ``2 p + 1`` for the second: two places below where the low bits want it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from sqil_ros.quant.layer_shape import LayerShape
from sqil_ros.quant.packing import pack, unpack
from sqil_ros.quant.primitives import code_range

LANES = 32
WIDTHS = (2, 3, 4, 8)


def low_bits(bits: int) -> int:
    """Bits of a code that lie beside each other."""
    return 2 if bits == 3 else bits


def block_inputs(bits: int) -> int:
    """Inputs that rows are filled up to a multiple of."""
    return LANES * (32 if bits == 3 else 32 // bits)


def row_words(in_features: int, bits: int) -> int:
    """Words of a row."""
    return -(-in_features // block_inputs(bits)) * LANES * (3 if bits == 3 else 1)


def words_from_rows(packed: Tensor, shape: LayerShape) -> Tensor:
    """Portable rows of :mod:`sqil_ros.quant.packing` to (out, row_words) int32."""
    bits, lowest = shape.bits, code_range(shape.bits)[0]
    codes = unpack(packed, bits, shape.in_features).to(torch.int16) - lowest
    codes = pad(codes, (0, -shape.in_features % block_inputs(bits)))
    if bits != 3:
        return _plane(codes, bits)
    pairs = _plane(codes >> 2, 1).unflatten(1, (-1, LANES))
    low = _plane(codes & 3, 2)
    return torch.cat([low, _interleaved(pairs).flatten(1)], dim=1)


def rows_from_words(words: Tensor, shape: LayerShape) -> Tensor:
    """Inverse of :func:`words_from_rows`."""
    bits, lowest = shape.bits, code_range(shape.bits)[0]
    if bits != 3:
        codes = _codes(words, bits)
    else:
        split = words.shape[1] // 3 * 2
        pairs = words[:, split:].unflatten(1, (-1, LANES))
        codes = _codes(words[:, :split], 2) | _codes(_separated(pairs).flatten(1), 1) << 2
    codes = (codes + lowest).to(torch.int8)[:, : shape.in_features]
    return pack(codes, bits)


def _plane(codes: Tensor, bits: int) -> Tensor:
    """(out, inputs) codes to (out, words), each place a shift."""
    places = 32 // bits
    blocks = codes.unflatten(1, (-1, places, LANES))
    words = torch.zeros(*blocks.shape[:2], LANES, dtype=torch.int32, device=codes.device)
    for place in range(places):
        words |= blocks[:, :, place].to(torch.int32) << (bits * place)
    return words.flatten(1)


def _codes(words: Tensor, bits: int) -> Tensor:
    """Inverse of :func:`_plane`: int16."""
    blocks = words.unflatten(1, (-1, LANES))
    mask = (1 << bits) - 1
    places = [((blocks >> (bits * p)) & mask).to(torch.int16) for p in range(32 // bits)]
    return torch.stack(places, dim=2).flatten(1)


def _interleaved(words: Tensor) -> Tensor:
    """Bits 0 to 15 of every word to even places, 16 to 31 to odd ones."""
    return _moved(words, [(p, 2 * (p % 16) + p // 16) for p in range(32)])


def _separated(words: Tensor) -> Tensor:
    """Inverse of :func:`_interleaved`."""
    return _moved(words, [(2 * (p % 16) + p // 16, p) for p in range(32)])


def _moved(words: Tensor, moves: list[tuple[int, int]]) -> Tensor:
    moved = torch.zeros_like(words)
    for source, target in moves:
        moved |= ((words >> source) & 1) << target
    return moved
