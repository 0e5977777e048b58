# SPDX-License-Identifier: Apache-2.0
"""A policy of a few thousand random weights, and a few short episodes for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sqil_training.episodes import Episode, encode_picture, episode_folder, write_episode

from sqil_ros.contract import Contract
from sqil_ros.policy.openvla.checkpoint import load_openvla, save_checkpoint
from sqil_ros.policy.openvla.config import OpenVLAConfig
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.statistics import dataset_statistics
from sqil_ros.policy.openvla.tokenizer import train_tokenizer
from sqil_ros.types import Observation

CONTRACT = Contract.load()
SIZE = 32
ACTION_STD = np.array([0.02, 0.02, 0.02, 0.001, 0.001, 0.05, 0.5])


def config() -> OpenVLAConfig:
    encoder = {
        'hidden_size': 16, 'num_hidden_layers': 1, 'num_attention_heads': 2, 'image_size': SIZE,
        'patch_size': 8,
    }  # fmt: skip
    return OpenVLAConfig(
        dino={**encoder, 'mlp_ratio': 2, 'num_register_tokens': 1, 'initializer_range': 0.2},
        siglip={**encoder, 'intermediate_size': 32},
        text={
            'vocab_size': 832, 'hidden_size': 24, 'intermediate_size': 32, 'num_hidden_layers': 1,
            'num_attention_heads': 2, 'max_position_embeddings': 128, 'initializer_range': 0.2,
        },
        text_vocab_size=768, n_images=2, proprio_dim=14, patch_merge=2, projector_hidden=32,
    )  # fmt: skip


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp('teacher')
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = OpenVLA(config())
    rng = np.random.default_rng(0)
    actions, proprio = rng.normal(size=(200, 7)) * ACTION_STD, rng.normal(size=(200, 14))
    statistics = dataset_statistics('random', actions, proprio, 1)
    save_checkpoint(directory, model, train_tokenizer(), statistics, CONTRACT, 'random')
    return directory


@pytest.fixture(scope='session')
def policy(checkpoint: Path) -> OpenVLAPolicy:
    return load_openvla(checkpoint, 'fp', CONTRACT)


@pytest.fixture
def observation() -> Observation:
    rng = np.random.default_rng(3)
    images = tuple(rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8) for _ in range(2))
    return Observation(images, rng.normal(size=7), rng.normal(size=7), 'lift the eggplant')


def random_episode(seed: int, steps: int) -> Episode:
    rng = np.random.default_rng(seed)

    def picture() -> bytes:
        coarse = rng.integers(0, 255, (8, 8, 3), np.uint8)
        return encode_picture(np.kron(coarse, np.ones((4, 4, 1), np.uint8)))

    return Episode(
        task='lift_eggplant',
        instruction='lift the eggplant',
        contract=CONTRACT.hash,
        seed=seed,
        success=True,
        origin='expert',
        stamps_ns=np.arange(steps) * 200_000_000,
        states=rng.normal(size=(steps, 7)),
        commands=rng.normal(size=(steps, 7)),
        actions=rng.normal(size=(steps, 7)) * ACTION_STD * 0.9,
        executed=np.zeros((steps, 7)),
        pictures=tuple(tuple(picture() for _ in range(steps)) for _ in range(2)),
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four episodes of 8 to 14 frames."""
    root = tmp_path / 'episodes'
    for index in range(4):
        folder = episode_folder(root, 'lift_eggplant', 'c', index)
        write_episode(folder, random_episode(index, 8 + 2 * index))
    return root


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """One episode of 6 frames that is not among ``data``."""
    root = tmp_path / 'held'
    write_episode(episode_folder(root, 'lift_eggplant', 'h', 0), random_episode(77, 6))
    return root
