# SPDX-License-Identifier: Apache-2.0
"""The launches of :mod:`.decoder_parts`."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from sqil_ros.quant.triton_kernels.decoder_parts import add_norm, attend_one, gate, turn_and_store

_BLOCK, _KEYS = 1024, 32


def add_and_normalise(
    states: Tensor, change: Tensor | None, gain: Tensor, epsilon: float
) -> Tensor:
    """Add (N, width) ``change`` to ``states`` in place; what that is normalised."""
    count, width = states.shape
    normed = torch.empty_like(states)
    with torch.cuda.device_of(states):
        add_norm[(count,)](
            states, states if change is None else change, gain, normed, width, epsilon,
            ADD=change is not None, WIDTH=triton.next_power_of_2(width), num_warps=8,
        )  # fmt: skip
    return normed


def turn_and_keep(
    heads: Tensor, turns: tuple[Tensor, Tensor], keys: Tensor, values: Tensor, start: int
) -> Tensor:
    """(N, heads joined) to (H, N, width) turned queries; keys and values go to their place.

    Args:
        heads: queries, keys and values of every token.
        turns: (room, width) cosines and sines.
        keys: (K, room, width) that are written to from place ``start`` on.
        values: likewise.
        start: place of the first token.
    """
    count = len(heads)
    key_heads, room, width = keys.shape
    query_heads = heads.shape[1] // width - 2 * key_heads
    query = heads.new_empty(query_heads, count, width)
    with torch.cuda.device_of(heads):
        turn_and_store[(count, query_heads + 2 * key_heads)](
            heads, *turns, query, keys, values, count, start, room, HEADS=query_heads,
            KEY_HEADS=key_heads, HALF=width // 2, LANES=triton.next_power_of_2(width // 2),
            num_warps=1,
        )  # fmt: skip
    return query


def attend_one_token(
    query: Tensor, keys: Tensor, values: Tensor, seen: Tensor, filled: int
) -> Tensor:
    """(H, 1, width) queries to (1, H * width), over the first ``filled`` keys that count.

    Args:
        query: of one token.
        keys: (K, room, width).
        values: likewise.
        seen: (room,) int8, 0 where a key does not count.
        filled: keys that are there.
    """
    heads, _, width = query.shape
    out = query.new_empty(1, heads * width)
    with torch.cuda.device_of(query):
        attend_one[(heads,)](
            query, keys, values, seen, out, filled, keys.shape[1], width**-0.5,
            GROUP=heads // len(keys), WIDTH=width, LANES=triton.next_power_of_2(width),
            KEYS=_KEYS,
        )  # fmt: skip
    return out


def gated(joined: Tensor) -> Tensor:
    """(N, 2 width) gates and values to (N, width)."""
    count, width = len(joined), joined.shape[1] // 2
    out = joined.new_empty(count, width)
    with torch.cuda.device_of(joined):
        gate[(count, triton.cdiv(width, _BLOCK))](joined, out, width, BLOCK=_BLOCK)
    return out
