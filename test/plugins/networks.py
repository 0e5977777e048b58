# SPDX-License-Identifier: Apache-2.0
"""Networks with random weights, and moments for them: what several tests of policies share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sqil_ros.policy.openvla.config import OpenVLAConfig
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.processor import Batch, pixels_from_images
from sqil_ros.quant.activations import Inputs
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.primitives import Grid, quantize
from sqil_ros.quant.selection import select_layers


def moment(config: OpenVLAConfig, seed: int, words: int = 18) -> Batch:
    """Pictures with coarse and fine structure, a prompt and proprioception, all random."""
    generator = torch.Generator().manual_seed(seed)
    size = config.image_size
    coarse = torch.rand(config.n_images, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode='bilinear')
    noise = 0.1 * torch.randn(smooth.shape, generator=generator)
    images = ((smooth + noise).clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1)
    tokens = torch.randint(0, config.text_vocab_size, (1, words), generator=generator)
    proprio = None
    if config.proprio_dim:
        proprio = torch.rand(1, config.proprio_dim, generator=generator) * 2 - 1
    return Batch(pixels_from_images(images[None]), tokens, torch.ones_like(tokens), proprio)


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Relative error of whole vectors."""
    error = float((found - expected).norm() / expected.norm())
    assert error < tolerance, error


def odd_config(**changes: object) -> OpenVLAConfig:
    """Nothing is a multiple of a vector; fewer key heads than heads; no proprioception."""
    settings: dict[str, object] = {
        'dino': {
            'hidden_size': 42,
            'num_hidden_layers': 2,
            'num_attention_heads': 2,
            'mlp_ratio': 3,
            'image_size': 42,
            'patch_size': 14,
            'num_register_tokens': 3,
            'initializer_range': 0.2,
        },
        'siglip': {
            'hidden_size': 33,
            'intermediate_size': 50,
            'num_hidden_layers': 2,
            'num_attention_heads': 3,
            'image_size': 42,
            'patch_size': 14,
        },
        'text': {
            'vocab_size': 330,
            'hidden_size': 40,
            'intermediate_size': 77,
            'num_hidden_layers': 3,
            'num_attention_heads': 4,
            'num_key_value_heads': 2,
            'head_dim': 10,
            'max_position_embeddings': 256,
            'rms_norm_eps': 1e-5,
            'initializer_range': 0.2,
        },
        'text_vocab_size': 300,
        'n_action_bins': 100,
        'projector_hidden': 45,
    }
    return OpenVLAConfig(**{**settings, **changes})


def random_model(config: OpenVLAConfig, seed: int = 0) -> OpenVLA:
    """Weights whose every part matters: gains, biases and tokens are random too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = OpenVLA(config).eval().requires_grad_(False)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
        model.dino.embeddings.register_tokens.normal_()
        model.dino.embeddings.cls_token.normal_()
    return model


def packed(
    model: OpenVLA,
    grid: Grid,
    inputs: Inputs | None = None,
    back_end: str = 'auto',
) -> OpenVLA:
    """The layers that a profile packs, rounded to nearest."""
    for name in [name for names in select_layers(model).values() for name in names]:
        parent, _, child = name.rpartition('.')
        old = model.get_submodule(name)
        assert isinstance(old, nn.Linear)
        layer = PackedLinear.from_quantized(
            quantize(old.weight, grid),
            old.bias,
            back_end,
            inputs,
        )
        setattr(model.get_submodule(parent), child, layer)
    return model
