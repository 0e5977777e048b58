# SPDX-License-Identifier: Apache-2.0
"""Saliency of vectors against the closed form of a linear policy."""

import numpy as np
import pytest
import torch

from sqil_ros.errors import ParameterError
from sqil_ros.saliency import state_rng, vector_saliency

W = np.random.default_rng(0).normal(size=(6, 4))
STATE = np.array([0.3, -1.0, 2.0, 0.0])
DEVIATIONS = np.array([0.1, 1.0, 3.0, 0.0])


def linear(vectors):
    return torch.from_numpy(vectors @ W.T)[:, None]


def test_a_linear_policy_has_a_closed_form():
    found = vector_saliency(linear, STATE, DEVIATIONS, 'l2', state_rng(5, 'e', 7), draws=3)
    noise = state_rng(5, 'e', 7).normal(size=(3, 4)) * DEVIATIONS
    wanted = 0.5 * np.square(W).sum(axis=0) * np.square(noise).mean(axis=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    assert found[3] == 0.0, 'a dimension that never moves is not disturbed'


def test_many_draws_approach_the_variance():
    found = vector_saliency(linear, STATE, DEVIATIONS, 'l2', state_rng(0, 'e', 0), draws=20_000)
    wanted = 0.5 * np.square(W).sum(axis=0) * np.square(DEVIATIONS)
    np.testing.assert_allclose(found[:3], wanted[:3], rtol=0.05)


@pytest.mark.parametrize('discrepancy', ['l2', 'kl'])
def test_a_blind_policy_scores_zero(discrepancy):
    answer = lambda vectors: torch.ones(len(vectors), 2, 3)  # noqa: E731
    assert not vector_saliency(answer, STATE, DEVIATIONS, discrepancy, state_rng(0, 'e', 0)).any()


@pytest.mark.parametrize('deviations, draws', [(DEVIATIONS[:3], 1), (DEVIATIONS, 0)])
def test_what_does_not_fit_is_refused(deviations, draws):
    with pytest.raises(ParameterError, match='disturbed'):
        vector_saliency(linear, STATE, deviations, 'l2', state_rng(0, 'e', 0), draws)
