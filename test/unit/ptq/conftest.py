# SPDX-License-Identifier: Apache-2.0
"""An OpenVLA of a few thousand weights, and episodes of a few steps.

No weight is at a value that hides a mistake, as gains of 1 and shifts of 0 would.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sqil_training.episodes import Episode, encode_picture, episode_folder, write_episode
from sqil_training.ptq.statistics import Run
from torch import Tensor, nn

from sqil_ros.contract import Contract
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
def model(_model: OpenVLA) -> Iterator[OpenVLA]:
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


def episode(seed: int) -> Episode:
    """Four steps of noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (2, 4, 4, 4, 3), dtype=np.uint8)
    pictures = np.kron(coarse, np.ones((1, 1, 8, 8, 1), dtype=np.uint8))
    return Episode(
        task='lift_eggplant', instruction=('lift the eggplant', 'stack the cups')[seed % 2],
        contract=Contract.load().hash, seed=seed, success=True, origin='expert',
        stamps_ns=np.arange(4), states=rng.normal(size=(4, 7)),
        commands=rng.normal(size=(4, 7)), actions=rng.uniform(-1, 1, (4, 7)),
        executed=rng.normal(size=(4, 7)),
        pictures=tuple(tuple(encode_picture(p) for p in camera) for camera in pictures),
    )  # fmt: skip


def write(root: Path, index: int, **change: object) -> None:
    folder = episode_folder(root, 'lift_eggplant', 'c', index)
    write_episode(folder, dataclasses.replace(episode(index), **change))


@pytest.fixture(scope='session')
def made() -> Callable[[int], Episode]:
    """The episode of a number."""
    return episode


@pytest.fixture(scope='session')
def put() -> Callable[..., None]:
    """Write the episode of a number under a root, with fields exchanged."""
    return write


@pytest.fixture(scope='session')
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five episodes."""
    root = tmp_path_factory.mktemp('episodes')
    for index in range(5):
        write(root, index)
    return root
