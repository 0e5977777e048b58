# SPDX-License-Identifier: Apache-2.0
"""What stands between the products of a decoder layer, each as one kernel instead of several."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def add_norm(
    states_at,
    change_at,
    gain_at,
    normed_at,
    width,
    epsilon,
    ADD: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Add a change to a row of states, in place, and normalise the sum by its mean square.

    Args:
        states_at: (rows, width).
        change_at: (rows, width), where ADD.
        gain_at: (width,).
        normed_at: (rows, width) result.
        width: of a row.
        epsilon: added to the mean square.
        ADD: whether there is a change.
        WIDTH: power of two, not less than ``width``.
    """
    column = tl.arange(0, WIDTH)
    there = column < width
    at = tl.program_id(0).to(tl.int64) * width + column
    x = tl.load(states_at + at, mask=there, other=0.0)
    if ADD:
        change = tl.load(change_at + at, mask=there, other=0.0).to(tl.float32)
        x = (x.to(tl.float32) + change).to(x.dtype)
        tl.store(states_at + at, x, mask=there)
    x = x.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, axis=0) / width + epsilon)
    gain = tl.load(gain_at + column, mask=there, other=0.0).to(tl.float32)
    tl.store(normed_at + at, (x * scale * gain).to(normed_at.dtype.element_ty), mask=there)


@triton.jit
def turn_and_store(
    joined_at, cosine_at, sine_at, query_at, keys_at, values_at, count, start, room,
    HEADS: tl.constexpr, KEY_HEADS: tl.constexpr, HALF: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Turn a head of a token by its position; keys and values go to their place.

    Args:
        joined_at: (count, (HEADS + 2 KEY_HEADS) * 2 HALF) queries, keys, values.
        cosine_at: (room, 2 HALF) of every position; likewise ``sine_at``.
        sine_at: see ``cosine_at``.
        query_at: (HEADS, count, 2 HALF) result.
        keys_at: (KEY_HEADS, room, 2 HALF).
        values_at: as ``keys_at``.
        count: tokens.
        start: place of the first.
        room: places.
        HEADS: of queries.
        KEY_HEADS: of keys.
        HALF: half the width of a head.
        LANES: power of two, not less than HALF.
    """
    token = tl.program_id(0)
    head = tl.program_id(1)
    lane = tl.arange(0, LANES)
    there = lane < HALF
    at = joined_at + (token * (HEADS + 2 * KEY_HEADS) + head).to(tl.int64) * (2 * HALF) + lane
    first = tl.load(at, mask=there, other=0.0)
    second = tl.load(at + HALF, mask=there, other=0.0)
    if head < HEADS + KEY_HEADS:
        place = (start + token) * (2 * HALF) + lane
        # Both halves turn by the same angles.
        cosine = tl.load(cosine_at + place, mask=there, other=0.0).to(tl.float32)
        sine = tl.load(sine_at + place, mask=there, other=0.0).to(tl.float32)
        x, y = first.to(tl.float32), second.to(tl.float32)
        first = (x * cosine - y * sine).to(first.dtype)
        second = (y * cosine + x * sine).to(second.dtype)
    if head < HEADS:
        goal = query_at + (head * count + token).to(tl.int64) * (2 * HALF) + lane
    elif head < HEADS + KEY_HEADS:
        goal = keys_at + ((head - HEADS) * room + start + token).to(tl.int64) * (2 * HALF) + lane
    else:
        row = (head - HEADS - KEY_HEADS) * room + start + token
        goal = values_at + row.to(tl.int64) * (2 * HALF) + lane
    tl.store(goal, first, mask=there)
    tl.store(goal + HALF, second, mask=there)


@triton.jit
def attend_one(
    query_at, keys_at, values_at, seen_at, out_at, filled, room, scale,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, LANES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """One token of one head looks at all keys that count.

    Args:
        query_at: (heads, WIDTH).
        keys_at: (key heads, room, WIDTH).
        values_at: as ``keys_at``.
        seen_at: (room,) int8, 0 where a key does not count.
        out_at: (heads, WIDTH) result.
        filled: keys that are there.
        room: places for keys.
        scale: of the products of queries and keys.
        GROUP: heads that share a key head.
        WIDTH: of a head.
        LANES: power of two, not less than WIDTH.
        KEYS: at a time.
    """
    head = tl.program_id(0)
    lane = tl.arange(0, LANES)
    inside = lane < WIDTH
    query = tl.load(query_at + head * WIDTH + lane, mask=inside, other=0.0).to(tl.float32) * scale
    base = (head // GROUP).to(tl.int64) * room * WIDTH
    most = tl.full([], -1e30, tl.float32)
    mass = tl.zeros([], tl.float32)
    out = tl.zeros([LANES], tl.float32)
    for first in range(0, filled, KEYS):
        key = first + tl.arange(0, KEYS)
        counts = tl.load(seen_at + key, mask=key < filled, other=0) != 0
        at = base + key[:, None] * WIDTH + lane[None, :]
        mask = counts[:, None] & inside[None, :]
        keys = tl.load(keys_at + at, mask=mask, other=0.0).to(tl.float32)
        score = tl.where(counts, tl.sum(keys * query[None, :], axis=1), -1e30)
        highest = tl.maximum(most, tl.max(score, axis=0))
        weight = tl.where(counts, tl.exp(score - highest), 0.0)
        shrunk = tl.exp(most - highest)
        values = tl.load(values_at + at, mask=mask, other=0.0).to(tl.float32)
        out = out * shrunk + tl.sum(values * weight[:, None], axis=0)
        mass = mass * shrunk + tl.sum(weight, axis=0)
        most = highest
    tl.store(out_at + head * WIDTH + lane, (out / mass).to(out_at.dtype.element_ty), mask=inside)


@triton.jit
def gate(joined_at, out_at, width, BLOCK: tl.constexpr):
    """(rows, 2 width) gates and values to (rows, width): silu(gate) * value.

    Args:
        joined_at: gates, then values, of every row.
        out_at: result.
        width: of each.
        BLOCK: columns of a program.
    """
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = column < width
    opened = tl.load(joined_at + row * 2 * width + column, mask=there, other=0.0)
    x = opened.to(tl.float32)
    value = tl.load(joined_at + row * 2 * width + width + column, mask=there, other=0.0)
    opened = (x / (1.0 + tl.exp(-x))).to(opened.dtype)
    tl.store(out_at + row * width + column, opened * value, mask=there)
