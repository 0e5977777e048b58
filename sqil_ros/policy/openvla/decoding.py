# SPDX-License-Identifier: Apache-2.0
"""Decoding token by token on the modules of transformers' Llama, without its bookkeeping.

The number of tokens is known, so the keys and values get their place once and every step writes
into it. At batch 1 transformers' own loop (masks, cache objects, positions anew for each token)
takes longer than the arithmetic of a small decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention
from transformers import LlamaModel


class Decoder(Protocol):
    """Whatever keeps the keys and values of a sequence."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, n, width) next embeddings to their (B, n, width) last states."""


class PreparedDecoder:
    """The keys and values of a sequence whose length N is known before it begins."""

    def __init__(
        self, decoder: LlamaModel, mask: Tensor, positions: Tensor, padded: bool | None = None
    ) -> None:
        """Make room.

        Args:
            decoder: whose layers compute.
            mask: (B, N) 1 where a token of the prompt or of the answer counts, 0 for padding.
            positions: (B, N) rotary positions.
            padded: whether there may be padding; None looks, for which a GPU must be waited for.
        """
        config = decoder.config
        self._decoder = decoder
        self._layers = [_Layer(layer, config.rms_norm_eps) for layer in decoder.layers]
        padded = not bool(mask.all()) if padded is None else padded
        self._mask = mask.bool() if padded else None
        self._positions = positions
        self._filled = 0
        self._heads = (config.num_attention_heads, config.num_key_value_heads)
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, n, width) next embeddings to their (B, n, width) last states."""
        batch, count, _ = inputs.shape
        start, self._filled = self._filled, self._filled + count
        if start == 0:
            self._rotary = self._decoder.rotary_emb(inputs, self._positions)
        cos, sin = (part[:, None, start : self._filled] for part in self._rotary)
        allowed = self._allowed(start, inputs.device)
        states = inputs
        for index, layer in enumerate(self._layers):
            query, key, value = (
                part.view(batch, count, heads, -1).transpose(1, 2)
                for part, heads in zip(
                    layer.projections(states), (self._heads[0], *self._heads[1:] * 2), strict=True
                )
            )
            keys, values = self._store(index, start, _turned(key, cos, sin), value)
            attended = scaled_dot_product_attention(
                _turned(query, cos, sin),
                keys,
                values,
                attn_mask=allowed,
                is_causal=allowed is None and count > 1,
                enable_gqa=self._heads[0] != self._heads[1],
            )
            states = layer.finish(states, attended.transpose(1, 2).reshape(batch, count, -1))
        norm: Any = self._decoder.norm
        return rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)

    def _allowed(self, start: int, device: torch.device) -> Tensor | None:
        """Which keys a query may see; None where that is all up to itself."""
        if self._mask is None:
            return None
        seen = self._mask[:, None, None, : self._filled]
        if start > 0:
            return seen
        causal = torch.ones(self._filled, self._filled, dtype=torch.bool, device=device).tril()
        return seen & causal

    def _store(self, index: int, start: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if start == 0:
            room = self._positions.shape[1]
            batch, heads, _, width = key.shape
            self._keys.append(key.new_empty(batch, heads, room, width))
            self._values.append(key.new_empty(batch, heads, room, width))
        keys, values = self._keys[index], self._values[index]
        keys[:, :, start : self._filled] = key
        values[:, :, start : self._filled] = value
        return keys[:, :, : self._filled], values[:, :, : self._filled]


class _Layer:
    """The parts of one decoder layer, looked up once."""

    def __init__(self, layer: Any, epsilon: float) -> None:
        attention, self._mlp = layer.self_attn, layer.mlp
        self._into: tuple[nn.Module, ...] = (attention.q_proj, attention.k_proj, attention.v_proj)
        self._out = attention.o_proj
        self._before: Tensor
        self._between: Tensor
        self._before, self._between = (
            layer.input_layernorm.weight,
            layer.post_attention_layernorm.weight,
        )
        self._epsilon = epsilon

    def projections(self, states: Tensor) -> list[Tensor]:
        normed = rms_norm(states, self._before.shape, self._before, self._epsilon)
        return [project(normed) for project in self._into]

    def finish(self, states: Tensor, attended: Tensor) -> Tensor:
        states = states + self._out(attended)
        normed = rms_norm(states, self._between.shape, self._between, self._epsilon)
        return states + self._mlp(normed)


def one_by_one(
    prepared: Decoder, prompt: Tensor, last: Tensor, choose: Callable[[Tensor], Tensor],
    embed: Callable[[Tensor], Tensor], count: int,
) -> Tensor:  # fmt: skip
    """(B, count) tokens, each chosen from the state that the one before it led to.

    Args:
        prepared: with room for ``count - 1`` tokens after the prompt.
        prompt: (B, L, width) embeddings.
        last: (B,) index of the prompt's last token that counts.
        choose: (B, width) states to (B,) tokens.
        embed: (B, 1) tokens to (B, 1, width) embeddings.
        count: number of tokens.
    """
    states = prepared.forward(prompt)
    tokens = [choose(states[torch.arange(len(last), device=last.device), last])]
    while len(tokens) < count:
        tokens.append(choose(prepared.forward(embed(tokens[-1][:, None]))[:, 0]))
    return torch.stack(tokens, dim=1)


def _turned(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of (B, heads, n, width); its halves are the pairs (as in transformers)."""
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat([-second, first], dim=-1) * sin
