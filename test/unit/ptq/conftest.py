# SPDX-License-Identifier: Apache-2.0
"""An OpenVLA of a few thousand weights, none of them at a value that hides a mistake."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sqil_training.ptq.statistics import Run
from torch import Tensor, nn

from sqil_ros.policy.openvla.config import OpenVLAConfig
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.processor import Batch


def micro(**text: int) -> OpenVLAConfig:
    """Towers of unlike widths, none a power of two; squares of patches are joined."""
    encoder = {'num_hidden_layers': 2, 'image_size': 16, 'patch_size': 4}
    return OpenVLAConfig(
        dino={
            **encoder, 'hidden_size': 12, 'num_attention_heads': 2, 'mlp_ratio': 2,
            'num_register_tokens': 2,
        },
        siglip={**encoder, 'hidden_size': 20, 'num_attention_heads': 5, 'intermediate_size': 28},
        text={
            'vocab_size': 832, 'hidden_size': 24, 'intermediate_size': 40, 'num_hidden_layers': 2,
            'num_attention_heads': 4, 'max_position_embeddings': 512, 'initializer_range': 0.2,
            **text,
        },
        text_vocab_size=768, n_images=2, proprio_dim=14, patch_merge=2, projector_hidden=32,
    )  # fmt: skip


def build(config: OpenVLAConfig) -> OpenVLA:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = OpenVLA(config).eval().requires_grad_(False)
        for parameter in model.parameters():
            if parameter.ndim == 1:  # gains, shifts and biases start at 1 or 0
                parameter.mul_(1.0 + 0.3 * torch.randn_like(parameter))
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def inputs() -> tuple[Batch, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(3, 2, 6, 16, 16, generator=generator)
    tokens = torch.randint(2, 700, (3, 6), generator=generator)
    proprio = torch.randn(3, 14, generator=generator)
    actions = torch.randint(600, 767, (3, 7), generator=generator)
    return Batch(pixels, tokens, torch.ones_like(tokens), proprio), actions


def logits(model: OpenVLA) -> Tensor:
    """(3, 7, bins): everything the model is, from pixels to the action head."""
    batch, actions = inputs()
    with torch.inference_mode():
        states = model.action_states(batch, actions, model.patch_features(batch.pixels))
        return model.action_logits(states)


@pytest.fixture(scope='session')
def _model() -> OpenVLA:
    return build(micro())


@pytest.fixture
def model(_model: OpenVLA) -> OpenVLA:
    """Not to be changed by a test; changing functions work on copies."""
    before = {name: parameter.clone() for name, parameter in _model.named_parameters()}
    yield _model
    assert all(torch.equal(before[n], p) for n, p in _model.named_parameters())


@pytest.fixture(scope='session')
def grouped_queries() -> OpenVLA:
    """Four heads that share two values."""
    return build(micro(num_key_value_heads=2))


@pytest.fixture(scope='session')
def function() -> Callable[[nn.Module], Tensor]:
    """What a model computes on fixed inputs, as (3, 7, bins) logits."""
    return logits


@pytest.fixture(scope='session')
def run() -> Run:
    """Calibration data: the same inputs."""
    return logits
