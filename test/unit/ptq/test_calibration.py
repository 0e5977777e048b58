# SPDX-License-Identifier: Apache-2.0
"""Calibration frames: which are drawn, and how they reach the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sqil_training.episodes import Episode
from sqil_training.ptq.action_error import action_error, predicted_actions
from sqil_training.ptq.calibration import Frame, calibration_of, draw_frames
from sqil_training.ptq.statistics import collect

from sqil_ros.contract import Contract
from sqil_ros.errors import CalibrationError, EpisodeError
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.processor import Processor
from sqil_ros.policy.openvla.statistics import Normalizer
from sqil_ros.policy.openvla.tokenizer import space_token, train_tokenizer

CONTRACT = Contract.load()
STEPS = 4
Put = Callable[..., None]


def steps(frames: list[Frame]) -> set[bytes]:
    return {frame.observation.state.tobytes() for frame in frames}


def test_frames_are_different_and_spread_over_the_episodes(
    tree: Path, made: Callable[[int], Episode]
) -> None:
    for count in (1, 5, 7, 20):
        frames = draw_frames(tree, CONTRACT, count, seed=0)
        assert len(steps(frames)) == len(frames) == count
        of = {state.tobytes(): index for index in range(5) for state in made(index).states}
        shares = np.bincount([of[state] for state in steps(frames)], minlength=5)
        assert shares.max() - shares.min() <= 1


def test_a_seed_is_a_choice(tree: Path) -> None:
    first, second, other = (steps(draw_frames(tree, CONTRACT, 5, seed)) for seed in (1, 1, 2))
    assert first == second != other


def test_frames_reach_the_model_without_padding(tree: Path, model: OpenVLA) -> None:
    tokenizer = train_tokenizer()
    processor = Processor(model.config, tokenizer, identity(14), space_token(tokenizer))
    frames = draw_frames(tree, CONTRACT, 20, seed=0)
    calibration = calibration_of(frames, processor, identity(7), model)
    assert len(calibration) == 20
    assert len(calibration.batches) == 2  # two instructions
    assert all(bool(batch.mask.all()) for batch, _ in calibration.batches)
    name = 'language_model.model.layers.0.mlp.up_proj'
    tokens = sum(
        len(batch.tokens) * (batch.tokens.shape[1] + 2 * 4 + 1 + 6)
        for batch, _ in calibration.batches
    )  # prompt, four squares of patches a camera, proprioception, all actions but the last
    assert collect(model, [name], calibration)[name].count == tokens
    actions = predicted_actions(model, calibration)
    assert actions.shape == (20, 7)
    assert action_error(actions, actions) == 0.0
    assert action_error(actions, actions + 0.5) == pytest.approx(0.5)


def identity(width: int) -> Normalizer:
    return Normalizer(-np.ones(width), np.ones(width), np.ones(width, dtype=bool))


def test_bad_data_are_refused_by_name(tmp_path: Path, tree: Path, put: Put) -> None:
    with pytest.raises(EpisodeError, match='No episodes under'):
        draw_frames(tmp_path, CONTRACT, 1, 0)
    with pytest.raises(CalibrationError, match=r'20 frames.*21 are asked for; lower --samples'):
        draw_frames(tree, CONTRACT, 21, 0)
    put(tmp_path / 'other', 0, contract='0123456789abcdef')
    with pytest.raises(EpisodeError, match='contract 0123456789abcdef'):
        draw_frames(tmp_path / 'other', CONTRACT, 1, 0)
    put(tmp_path / 'nan', 0, states=np.full((STEPS, 7), np.nan))
    with pytest.raises(CalibrationError, match=r'step \d is not finite'):
        draw_frames(tmp_path / 'nan', CONTRACT, 1, 0)


def test_action_tokens_are_the_demonstrated_ones(tree: Path, model: OpenVLA) -> None:
    tokenizer = train_tokenizer()
    processor = Processor(model.config, tokenizer, identity(14), space_token(tokenizer))
    frame = draw_frames(tree, CONTRACT, 1, seed=0)[0]
    high = dataclasses.replace(frame, action=np.ones(7))
    _, tokens = calibration_of([high], processor, identity(7), model).batches[0]
    top = model.config.text_vocab_size - model.config.n_action_bins
    assert torch.equal(tokens, torch.full((1, 7), top))
