# SPDX-License-Identifier: Apache-2.0
"""Calibration data: frames of an episode tree, as the policy sees them.

A frame goes through the model as in training, prompt and the demonstrated action together
(inference: the papers calibrate on running text, methods.md 5.2 proposes these sequences for a
VLA). Frames that ask the same thing share a batch, so no batch has padding and every token that a
layer sees counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sqil_ros.contract import Contract
from sqil_ros.errors import CalibrationError, EpisodeError
from sqil_ros.policy.openvla.action_tokenizer import encode
from sqil_ros.policy.openvla.config import L1
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.processor import Batch, Processor
from sqil_ros.policy.openvla.statistics import Normalizer
from sqil_ros.types import Array, Observation
from sqil_training.episodes import Episode, decode_picture, episode_folders, read_episode

_BATCH = 16


@dataclass(frozen=True)
class Frame:
    """A step of a demonstration: what was seen, and the (7,) action that followed."""

    observation: Observation
    action: Array


@dataclass(frozen=True)
class Calibration:
    """Frames as inputs of one model.

    Attributes:
        batches: model inputs and (B, 7) action tokens.
    """

    batches: tuple[tuple[Batch, Tensor], ...]

    def __call__(self, model: nn.Module) -> None:
        """Let an OpenVLA compute on every frame, teacher-forced if by tokens (a ``Run``)."""
        assert isinstance(model, OpenVLA)
        for batch, tokens in self.batches:
            features = model.patch_features(batch.pixels)
            if model.config.head == L1:
                model.predict_chunk(batch, features)
            else:
                model.action_states(batch, tokens, features)

    def __len__(self) -> int:
        return sum(len(tokens) for _, tokens in self.batches)


def draw_frames(root: Path, contract: Contract, count: int, seed: int) -> list[Frame]:
    """``count`` different frames, as evenly over the episodes as can be.

    Args:
        root: of an episode tree.
        contract: that the episodes must carry.
        count: number of frames.
        seed: of the choice; the same seed gives the same frames.

    Raises:
        EpisodeError: there is no episode, one is broken or was made under another contract.
        CalibrationError: there are too few frames, or one is not finite.
    """
    folders = list(episode_folders(root))
    if not folders:
        raise EpisodeError(f'No episodes under {root}; run sqil-collect first.')
    rng = np.random.default_rng(seed)
    frames: list[Frame] = []
    order = rng.permutation(len(folders))
    for position, index in enumerate(order):
        share = -(-(count - len(frames)) // (len(order) - position))
        if share < 1:
            break
        episode = _checked(folders[index], contract)
        steps = rng.permutation(len(episode))[:share]
        frames.extend(_frame(folders[index], episode, int(step)) for step in sorted(steps))
    if len(frames) < count:
        raise CalibrationError(
            f'{root} gives {len(frames)} frames evenly from {len(folders)} episodes, {count} are '
            'asked for; lower --samples or record more'
        )
    return frames


def calibration_of(
    frames: Sequence[Frame], processor: Processor, actions: Normalizer, model: OpenVLA
) -> Calibration:
    """Frames as inputs of ``model``, on its device."""
    config = model.config
    asked: dict[str, list[Frame]] = {}
    for frame in frames:
        asked.setdefault(frame.observation.instruction, []).append(frame)
    batches = []
    for alike in asked.values():
        for start in range(0, len(alike), _BATCH):
            part = alike[start : start + _BATCH]
            labels = actions.normalize(np.stack([frame.action for frame in part]))
            tokens = encode(labels, config.text_vocab_size, config.n_action_bins)
            batch = _placed(processor([frame.observation for frame in part]), model)
            batches.append((batch, torch.from_numpy(tokens).to(model.device)))
    return Calibration(tuple(batches))


def _placed(batch: Batch, model: OpenVLA) -> Batch:
    proprio = None if batch.proprio is None else batch.proprio.to(model.device, model.dtype)
    return Batch(
        batch.pixels.to(model.device, model.dtype),
        batch.tokens.to(model.device),
        batch.mask.to(model.device),
        proprio,
    )


def _checked(folder: Path, contract: Contract) -> Episode:
    episode = read_episode(folder)
    if episode.contract != contract.hash:
        raise EpisodeError(
            f'{folder} was recorded under contract {episode.contract}, this robot has '
            f'{contract.hash}; record it again.'
        )
    return episode


def _frame(folder: Path, episode: Episode, step: int) -> Frame:
    vectors = (episode.states[step], episode.commands[step], episode.actions[step])
    if not all(np.isfinite(vector).all() for vector in vectors):
        raise CalibrationError(
            f'{folder}: state, command or action of step {step} is not finite; all must be. Drop '
            'the episode or record it again'
        )
    pictures = tuple(decode_picture(camera[step]) for camera in episode.pictures)
    state, command, action = vectors
    return Frame(Observation(pictures, state, command, episode.instruction), action)
