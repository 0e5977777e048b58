# SPDX-License-Identifier: Apache-2.0
"""OpenVLA networks of any size with random weights: as fast and as large as trained ones.

Layers are made one by one at the width that they will have, so that a model of 7 billion weights
at 4 bits never exists at 16.
"""

from __future__ import annotations

import math
import tempfile

import torch
from torch import Tensor, nn

from sqil_ros.policy.openvla.config import OpenVLAConfig
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.quant.activations import Inputs
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.selection import select_layers

FULL = 16
_SPREAD = 0.02


def openvla_7b(layers: int = 32) -> OpenVLAConfig:
    """The shapes of openvla-7b (arXiv 2406.09246): DINOv2 L/14 and SigLIP so400m/14, Llama 2 7B.

    Args:
        layers: of the decoder; fewer for a model that is as wide but not as deep.
    """
    picture = {'image_size': 224, 'patch_size': 14}
    return OpenVLAConfig(
        dino=picture
        | {
            'hidden_size': 1024,
            'num_hidden_layers': 23,
            'num_attention_heads': 16,
            'mlp_ratio': 4,
            'num_register_tokens': 4,
        },
        siglip=picture
        | {
            'hidden_size': 1152,
            'intermediate_size': 4304,
            'num_hidden_layers': 26,
            'num_attention_heads': 16,
        },
        text={
            'hidden_size': 4096,
            'intermediate_size': 11008,
            'num_hidden_layers': layers,
            'num_attention_heads': 32,
            'max_position_embeddings': 2048,
            'rms_norm_eps': 1e-6,
            'vocab_size': 32064,
        },
        text_vocab_size=32000,
    )


def random_model(
    config: OpenVLAConfig, bits: int, activation_bits: int | None = None, seed: int = 0
) -> OpenVLA:
    """A network in bfloat16 whose vision and language layers have random integers.

    Args:
        config: of the network.
        bits: width of those layers; 16 leaves them in bfloat16.
        activation_bits: width of their inputs; None for floating point.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    with torch.device('meta'):
        model = OpenVLA(config).to(torch.bfloat16)
    chosen = [name for names in select_layers(model).values() for name in names]
    for name in chosen if bits != FULL else ():
        parent, _, child = name.rpartition('.')
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        setattr(model.get_submodule(parent), child, _packed(layer, bits, activation_bits))
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.is_meta:
                value = _value(name, parameter)
                module._parameters[name] = nn.Parameter(value, requires_grad=False)
    if bits != FULL:
        _leave_in_a_file(model.get_input_embeddings())
    _mend_buffers(model)
    return model.eval()


def _packed(layer: nn.Linear, bits: int, activation_bits: int | None) -> PackedLinear:
    """Random codes with a scale that keeps the size of what they are multiplied with."""
    row_bytes = -(-layer.in_features * bits // 32) * 4
    codes = torch.randint(0, 256, (layer.out_features, row_bytes), dtype=torch.uint8)
    # Uniform codes have the deviation 2^b / sqrt(12).
    scale = math.sqrt(12.0 / layer.in_features) / 2**bits
    bias = None if layer.bias is None else torch.zeros(layer.out_features, dtype=torch.bfloat16)
    return PackedLinear(
        codes,
        torch.full((layer.out_features,), scale),
        bias,
        layer.in_features,
        bits,
        inputs=None if activation_bits is None else Inputs(activation_bits),
    )


def _value(name: str, like: Tensor) -> Tensor:
    """Norms and gains of 1, biases of 0, matrices that keep the size of what they multiply."""
    if 'bias' in name:
        return torch.zeros(like.shape, dtype=like.dtype)
    if like.ndim < 2:
        return torch.ones(like.shape, dtype=like.dtype)
    spread = 1.0 / math.sqrt(like[0].numel()) if name == 'weight' else _SPREAD
    return torch.empty(like.shape, dtype=like.dtype).normal_(0.0, spread)


def _leave_in_a_file(words: nn.Module) -> None:
    """Read a table from a file, as a profile's is (:mod:`sqil_ros.quant.tensor_file`)."""
    assert isinstance(words, nn.Embedding)
    weight = words.weight
    if weight.device.type != 'cpu':
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(weight.detach().view(torch.uint8).numpy().data)
        file.flush()
        read = torch.from_file(file.name, size=weight.numel(), dtype=weight.dtype)
    words.weight = nn.Parameter(read.view_as(weight), requires_grad=False)


def _mend_buffers(model: OpenVLA) -> None:
    """What modules compute when they are made is nothing on the meta device."""
    decoder, siglip = model.language_model.model, model.siglip.embeddings
    decoder.rotary_emb = type(decoder.rotary_emb)(model.language_model.config)
    siglip.position_ids = torch.arange(siglip.num_positions)[None]
    left = [name for name, buffer in model.named_buffers() if buffer.is_meta]
    assert not left, left
