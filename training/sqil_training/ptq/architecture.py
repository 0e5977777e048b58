# SPDX-License-Identifier: Apache-2.0
"""Who reads whom in the three towers, as far as calibration methods must know.

Two facts let weights be changed while the function stays: the output of a norm, or of a linear
layer that meets its reader channel by channel, may be divided by anything if the reader's columns
are multiplied by it; and what every block reads and adds to, the residual stream, may be rotated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import nn
from transformers.models.dinov2_with_registers.modeling_dinov2_with_registers import (
    Dinov2WithRegistersLayer,
)
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer


@dataclass(frozen=True)
class ScalingGroup:
    """Linear layers that read one tensor, and who writes it channel by channel.

    Attributes:
        source: a norm or a linear layer.
        layers: every layer that reads its output.
    """

    source: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """The parts of a transformer block by name.

    Attributes:
        reads: norms of the residual stream, each with the linear layers behind it.
        values: value projection, and the output projection that it reaches through attention,
            a weighted mean over tokens that keeps the channels.
        product: the factor of a gated product, and the layer that reads it; None without a gate
            (GELU between two layers lets no scale pass).
        writes: layers that add to the residual stream.
        gains: parameters that multiply what ``writes`` add, one each; empty without.
    """

    reads: tuple[ScalingGroup, ...]
    values: ScalingGroup
    product: ScalingGroup | None
    writes: tuple[str, ...]
    gains: tuple[str, ...] = ()


def _group(prefix: str, source: str, *layers: str) -> ScalingGroup:
    return ScalingGroup(f'{prefix}.{source}', tuple(f'{prefix}.{layer}' for layer in layers))


def _attention(prefix: str, norm: str, attention: str, out: str) -> tuple[ScalingGroup, ...]:
    query, key, value = (f'{attention}.{part}_proj' for part in 'qkv')
    reads = _group(prefix, norm, query, key, value)
    return reads, _group(prefix, value, f'{attention}.{out}')


def _llama(name: str) -> Block:
    reads, values = _attention(name, 'input_layernorm', 'self_attn', 'o_proj')
    gated = _group(name, 'post_attention_layernorm', 'mlp.gate_proj', 'mlp.up_proj')
    product = _group(name, 'mlp.up_proj', 'mlp.down_proj')
    return Block((reads, gated), values, product, (*values.layers, *product.layers))


def _siglip(name: str) -> Block:
    reads, values = _attention(name, 'layer_norm1', 'self_attn', 'out_proj')
    wide = _group(name, 'layer_norm2', 'mlp.fc1')
    return Block((reads, wide), values, None, (*values.layers, f'{name}.mlp.fc2'))


def _dino(name: str) -> Block:
    reads, values = _attention(name, 'norm1', 'attention', 'o_proj')
    wide = _group(name, 'norm2', 'mlp.fc1')
    gains = tuple(f'{name}.layer_scale{i}.lambda1' for i in (1, 2))
    return Block((reads, wide), values, None, (*values.layers, f'{name}.mlp.fc2'), gains)


_KINDS = {
    LlamaDecoderLayer: _llama,
    SiglipEncoderLayer: _siglip,
    Dinov2WithRegistersLayer: _dino,
}
# Which part of an OpenVLA computes before which; parts that are not named come last.
_ORDER = ('dino', 'siglip', 'projector', 'proprio_projector', 'language_model')


def blocks(model: nn.Module) -> dict[str, Block]:
    """Every transformer block by name, in the order of computation within its tower."""
    return {
        name: _KINDS[type(module)](name)
        for name, module in model.named_modules()
        if type(module) in _KINDS
    }


def scaling_groups(model: nn.Module, block: Block) -> tuple[ScalingGroup, ...]:
    """The groups of a block whose input may be scaled, in the order of computation."""
    attention, feed_forward = block.reads
    groups = [attention]
    value, out = (model.get_submodule(n) for n in (block.values.source, block.values.layers[0]))
    if value.out_features == out.in_features:  # grouped queries give one value to many heads
        groups.append(block.values)
    groups.append(feed_forward)
    if block.product is not None:
        groups.append(block.product)
    return tuple(groups)


def stages(model: nn.Module, layers: Collection[str]) -> list[tuple[str, ...]]:
    """``layers`` cut into runs that one pass of calibration serves, in order of computation.

    A stage is a transformer block, or the layers outside blocks of one part of the model.
    """
    inside = blocks(model)
    found: dict[str, list[str]] = {}
    for name in layers:
        block = next((b for b in inside if name.startswith(f'{b}.')), name.partition('.')[0])
        found.setdefault(block, []).append(name)
    rank = {part: index for index, part in enumerate(_ORDER)}
    ordered = sorted(found, key=lambda stage: rank.get(stage.partition('.')[0], len(rank)))
    return [tuple(found[stage]) for stage in ordered]


def shared_inputs(model: nn.Module) -> Mapping[str, str]:
    """For every layer that reads the same tensor as others, the first of them."""
    return {
        layer: group.layers[0]
        for block in blocks(model).values()
        for group in block.reads
        for layer in group.layers
    }
