# SPDX-License-Identifier: Apache-2.0
"""Which frames of demonstrations matter: their scores, from the full-precision policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sqil_ros.saliency import (
    check_mean_weight,
    source_steps,
    state_rng,
    vector_saliency,
    weights,
)
from sqil_ros.types import Array
from sqil_training.dmc.demonstrations import Demonstration, stacked

DISCREPANCY = 'l2'


def frame_weights(
    policy: nn.Module,
    demonstrations: Sequence[Demonstration],
    stride: int,
    top: float,
    beta: float,
    seed: int,
) -> Array:
    """(n,) alpha of every frame, in the order of :func:`~.demonstrations.stacked`.

    Args:
        policy: the teacher.
        demonstrations: what it was trained on.
        stride: every how many frames are scored, k.
        top: share of heavy frames, p.
        beta: their weight.
        seed: of the noise.

    Raises:
        ScoreError: the scores single no frames out.
        ParameterError: stride or share is out of range.
    """
    deviations = stacked(demonstrations)[0].std(axis=0)

    def answer(vectors: Array) -> Tensor:
        return policy(torch.from_numpy(vectors.astype(np.float32)))[:, None]

    scores, sources, frames = [], [], 0
    for episode, one in enumerate(demonstrations):
        source = source_steps(len(one.observations), stride)
        found = {
            step: vector_saliency(
                answer,
                one.observations[step],
                deviations,
                DISCREPANCY,
                state_rng(seed, str(episode), int(step)),
            ).mean()
            for step in np.unique(source)
        }
        scores.append([found[step] for step in source])
        sources.append(frames + source)
        frames += len(source)
    flat = np.concatenate(scores)
    alpha = weights(flat, top, beta)
    check_mean_weight(alpha, flat, np.concatenate(sources), top, beta)
    return alpha
