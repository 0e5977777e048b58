# SPDX-License-Identifier: Apache-2.0
"""Saliency weights of demonstrations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sqil_training.dmc.demonstrations import Demonstration
from sqil_training.dmc.importance import frame_weights
from torch import nn

from sqil_ros.errors import ScoreError


class Steep(nn.Module):
    """Looks at its input only where that is above 1."""

    def forward(self, x):
        return (x[:, :1] - 1.0).relu()


class Blind(nn.Module):
    def forward(self, x):
        return torch.zeros(len(x), 1)


@pytest.fixture
def demonstrations():
    rng = np.random.default_rng(0)
    return [
        Demonstration(rng.normal(size=(40, 3)), rng.normal(size=(40, 1)), rng.random(40))
        for _ in range(5)
    ]


def test_a_fifth_of_the_frames_counts_twice_and_their_mean_is_what_it_must_be(demonstrations):
    alpha = frame_weights(Steep(), demonstrations, 1, 0.2, 2.0, 0)
    assert alpha.shape == (200,) and set(alpha) == {1.0, 2.0}
    assert alpha.mean() == pytest.approx(1.2)


def test_heavy_frames_are_those_where_the_policy_looks(demonstrations):
    alpha = frame_weights(Steep(), demonstrations, 1, 0.2, 2.0, 0)
    seen = np.concatenate([one.observations[:, 0] for one in demonstrations])
    assert seen[alpha == 2.0].mean() > 1.0 > seen[alpha == 1.0].mean()


def test_frames_share_the_score_of_the_frame_before_them(demonstrations):
    alpha = frame_weights(Steep(), demonstrations, 4, 0.2, 2.0, 0)
    assert (alpha.reshape(-1, 4) == alpha.reshape(-1, 4)[:, :1]).all()


def test_a_policy_that_looks_at_nothing_is_refused(demonstrations):
    with pytest.raises(ScoreError, match='mean weight'):
        frame_weights(Blind(), demonstrations, 1, 0.2, 2.0, 0)
