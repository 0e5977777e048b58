# SPDX-License-Identifier: Apache-2.0
"""Intervals of returns."""

from __future__ import annotations

import numpy as np
import pytest
from sqil_training.bootstrap import interval, ratio


def mean(value):
    return value


@pytest.fixture
def returns():
    return np.random.default_rng(0).normal(500.0, 100.0, size=(4, 30))


def test_what_never_varies_has_no_width():
    assert interval(mean, np.full((3, 5), 7.0)) == (7.0, 7.0)


def test_the_mean_lies_inside_and_all_pairs_stay_together(returns):
    low, high = interval(mean, returns)
    assert low < returns.mean() < high
    low, high = interval(ratio, 0.9 * returns, returns)
    assert low == pytest.approx(0.9) and high == pytest.approx(0.9)


def test_one_seed_gives_the_textbook_width(returns):
    low, high = interval(mean, returns[:1])
    wanted = 2 * 1.96 * returns[0].std() / np.sqrt(30)
    assert high - low == pytest.approx(wanted, rel=0.05)


def test_seeds_that_differ_widen_it(returns):
    apart = returns + np.array([[-300.0], [-100.0], [100.0], [300.0]])
    assert np.subtract(*interval(mean, apart)[::-1]) > np.subtract(*interval(mean, returns)[::-1])


def test_a_share_of_what_may_be_nothing_has_no_interval(returns):
    of = np.zeros((4, 30))
    of[0] = 900.0
    assert not np.isfinite(interval(ratio, returns, of)).all()
