# SPDX-License-Identifier: Apache-2.0
"""Which frames are scored, and which count more."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.errors import ParameterError, ScoreError
from sqil_ros.saliency import check_mean_weight, scored_steps, source_steps, threshold, weights


@given(st.integers(1, 300), st.integers(1, 9))
def test_every_frame_has_a_score_that_is_not_too_old(length: int, stride: int) -> None:
    scored, sources = scored_steps(length, stride), source_steps(length, stride)
    steps = np.arange(length)
    assert set(sources) == set(scored)
    assert np.all(sources <= steps) and np.all(np.diff(sources) >= 0)
    assert np.array_equal(sources[scored], scored)
    if length >= stride:
        assert 65 * len(scored) / length <= 65 / stride
        assert (steps - sources).max() < stride + math.ceil(stride / len(scored))


def test_the_papers_frames_where_the_stride_divides() -> None:
    assert scored_steps(12, 4).tolist() == [0, 4, 8]
    assert source_steps(8, 4).tolist() == [0, 0, 0, 0, 4, 4, 4, 4]


def test_a_rest_is_spread_over_the_groups() -> None:
    assert scored_steps(11, 4).tolist() == [0, 5]
    assert scored_steps(3, 4).tolist() == [0]


def test_an_empty_episode_is_refused() -> None:
    with pytest.raises(ParameterError, match='0 frames'):
        scored_steps(0, 4)


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=200), st.sampled_from([0.1, 0.2, 0.35]))
def test_distinct_scores_give_floor_or_ceil_of_the_share(values: set[int], top: float) -> None:
    scores = np.array(sorted(values), float)
    alpha = weights(scores, top, 2.0)
    share = top * len(scores)
    assert np.count_nonzero(alpha == 2.0) in (
        math.floor(share + 1e-9), math.ceil(share - 1e-9)
    )  # fmt: skip
    assert set(alpha) <= {1.0, 2.0}
    assert np.all(np.diff(alpha) >= 0.0), 'a higher score never counts less'


def test_frames_at_the_threshold_are_light() -> None:
    """The paper compares with '>'; of ties at the threshold none counts more."""
    scores = np.array([1.0] * 5 + [2.0] * 4 + [3.0])
    assert threshold(scores, 0.2) == 2.0
    assert weights(scores, 0.2, 3.0).tolist() == [1.0] * 9 + [3.0]


@pytest.mark.parametrize('top', [0.0, 1.0, -0.2])
def test_a_share_is_between_nothing_and_all(top: float) -> None:
    with pytest.raises(ParameterError, match='share'):
        threshold(np.ones(3), top)


def test_no_scores_have_no_threshold() -> None:
    with pytest.raises(ScoreError, match='no scores'):
        threshold(np.array([]), 0.2)


@given(st.integers(20, 120), st.integers(1, 6), st.integers(0, 1000))
def test_the_mean_weight_holds_for_frames_that_share_scores(
    groups: int, stride: int, seed: int
) -> None:
    length = groups * stride
    sources = source_steps(length, stride)
    scores = np.random.default_rng(seed).permutation(length).astype(float)[sources]
    alpha = weights(scores, 0.2, 2.0)
    check_mean_weight(alpha, scores, sources, 0.2, 2.0)
    assert alpha.mean() == pytest.approx(1.2, abs=(stride + 1) / length)


@pytest.mark.parametrize('count', [6, 60, 600])
def test_scores_that_tell_nothing_apart_are_refused(count: int) -> None:
    scores = np.ones(count)
    alpha = weights(scores, 0.2, 2.0)
    with pytest.raises(ScoreError, match=r'mean weight is 1\.0000'):
        check_mean_weight(alpha, scores, np.arange(count), 0.2, 2.0)


def test_weights_that_were_lost_are_noticed() -> None:
    """The released recipe matches no key under augmentation, and every weight becomes 1."""
    scores = np.arange(100.0)
    with pytest.raises(ScoreError, match=r'must be 1\.2000'):
        check_mean_weight(np.ones(100), scores, np.arange(100), 0.2, 2.0)
