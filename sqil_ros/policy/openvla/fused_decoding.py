# SPDX-License-Identifier: Apache-2.0
"""Decoding on a GPU in few kernels: nine a layer for a token, instead of some thirty.

At 4 bits a layer of openvla-7b can be read in 25 microseconds (inference, from the data sheet);
a kernel takes about two of them, whatever little it does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaModel

from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.quant.cuda import device_refusal
from sqil_ros.quant.joined import joined


class FusedLayers:
    """The layers of a decoder with what reads the same inputs joined; made once a model."""

    def __init__(self, decoder: LlamaModel) -> None:
        """Join; the modules of the decoder share their weights with it and must stay."""
        self.decoder = decoder
        self.layers = [_Layer(layer) for layer in decoder.layers]


class _Layer:
    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.into = joined([attention.q_proj, attention.k_proj, attention.v_proj])
        self.out = attention.o_proj
        self.widen, self.narrow = joined([mlp.gate_proj, mlp.up_proj]), mlp.down_proj
        self.before = layer.input_layernorm.weight
        self.between = layer.post_attention_layernorm.weight


class FusedDecoder:
    """As :class:`PreparedDecoder`, batch 1, with Triton between the products."""

    def __init__(self, layers: FusedLayers, mask: Tensor, positions: Tensor) -> None:
        """Make room.

        Args:
            layers: that compute.
            mask: (1, N) 1 where a token of the prompt or of the answer counts, 0 for padding.
            positions: (1, N) rotary positions.
        """
        config = layers.decoder.config
        self._layers, self._norm = layers.layers, layers.decoder.norm
        self._rotary = layers.decoder.rotary_emb
        self._epsilon = config.rms_norm_eps
        self._heads, self._key_heads = config.num_attention_heads, config.num_key_value_heads
        self._width = config.head_dim
        self._mask, self._positions = mask[0].to(torch.int8), positions
        self._filled = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """(1, n, width) next embeddings to their (1, n, width) last states."""
        from sqil_ros.quant.triton_kernels.decoder_launches import (
            add_and_normalise,
            attend_one_token,
            gated,
            turn_and_keep,
        )

        start, self._filled = self._filled, self._filled + inputs.shape[1]
        if start == 0:
            self._make_room(inputs)
        states, change = inputs[0].contiguous().clone(), None
        for layer, keys, values in zip(self._layers, self._keys, self._values, strict=True):
            normed = add_and_normalise(states, change, layer.before, self._epsilon)
            query = turn_and_keep(layer.into(normed[None])[0], self._turns, keys, values, start)
            if len(states) == 1:
                seen = attend_one_token(query, keys, values, self._mask, self._filled)
            else:
                seen = self._attend(query, keys, values)
            change = layer.out(seen[None])[0]
            normed = add_and_normalise(states, change, layer.between, self._epsilon)
            change = layer.narrow(gated(layer.widen(normed[None])[0])[None])[0]
        return add_and_normalise(states, change, self._norm.weight, self._epsilon)[None]

    def _make_room(self, inputs: Tensor) -> None:
        room = self._positions.shape[1]
        cosine, sine = self._rotary(inputs, self._positions)
        self._turns = cosine[0].contiguous(), sine[0].contiguous()
        shape = (len(self._layers), self._key_heads, room, self._width)
        self._keys, self._values = inputs.new_zeros(shape), inputs.new_zeros(shape)
        count = self._filled
        causal = torch.ones(count, count, dtype=torch.bool, device=inputs.device).tril()
        self._allowed = causal & self._mask[None, :count].bool()

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(heads, n, width) queries of the prompt to (n, heads * width)."""
        count = query.shape[1]
        seen = scaled_dot_product_attention(
            query[None], keys[None, :, :count], values[None, :, :count],
            attn_mask=self._allowed, enable_gqa=self._heads != self._key_heads,
        )  # fmt: skip
        return seen[0].transpose(0, 1).reshape(count, -1)


def fusing_refusal(model: OpenVLA) -> str:
    """Why the kernels cannot decode for a model; empty if they can."""
    text = model.language_model.config
    if text.hidden_act != 'silu':
        return f'they compute silu, the model {text.hidden_act}'
    if text.head_dim % 2:
        return f'they turn halves of heads, a head is {text.head_dim} wide'
    return device_refusal(model.device)
