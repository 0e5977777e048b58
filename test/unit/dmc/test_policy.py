# SPDX-License-Identifier: Apache-2.0
"""Policies over vectors, at full precision and on their grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sqil_training.dmc.policy import (
    NARROWEST,
    Standardize,
    likeliest,
    negative_log_likelihood,
    new_policy,
)
from sqil_training.dmc.student import rounded_copy
from sqil_training.finetune.lsq import LsqLinear
from torch.distributions import Normal

from sqil_ros.errors import ParameterError


@pytest.fixture
def observations():
    found = torch.randn(64, 5, generator=torch.Generator().manual_seed(0)) * 3.0 + 1.0
    found[:, 4] = 2.0  # it never moves
    return found


@pytest.fixture
def policy(observations):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return new_policy(observations, 2, 16)


def test_dimensions_are_standardised_and_constant_ones_become_zero(observations):
    found = Standardize(observations)(observations)
    torch.testing.assert_close(found[:, :4].std(dim=0, correction=0), torch.ones(4))
    assert not found[:, 4].any()


def test_the_likelihood_is_that_of_a_normal_distribution(observations, policy):
    answer, actions = policy(observations), torch.randn(64, 2)
    mean, width = answer.chunk(2, dim=-1)
    wanted = -Normal(mean, width.exp()).log_prob(actions).mean()
    torch.testing.assert_close(negative_log_likelihood(answer, actions), wanted)


def test_certainty_has_a_bound():
    answer = torch.tensor([[0.0, -100.0]])
    found = negative_log_likelihood(answer, torch.zeros(1, 1))
    assert found.item() == pytest.approx(NARROWEST + 0.5 * math.log(2.0 * math.pi))


def test_controls_are_the_means_cut_to_their_range(observations, policy):
    with torch.no_grad():
        policy[-1].bias[0] = 50.0
    found = likeliest(policy, observations.double().numpy())
    assert found.shape == (64, 2)
    assert (found[:, 0] == 1.0).all() and (np.abs(found) <= 1.0).all()


def test_a_rounded_copy_has_its_widths_where_they_belong(observations, policy):
    student = rounded_copy(policy, observations, 4, 8)
    grids = [(m.input_grid, m.weight_grid) for m in student if isinstance(m, LsqLinear)]
    assert [weight.bits for _, weight in grids] == [8, 4, 8]
    assert [x.bits for x, _ in grids] == [8, 4, 8]
    assert [x.signed for x, _ in grids] == [True, False, False], (
        'behind a ReLU nothing is negative'
    )


def test_a_rounded_copy_learns_apart_from_its_teacher(observations, policy):
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    student = rounded_copy(policy, observations, 4, 4)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())


def test_fewer_bits_answer_further_from_the_teacher(observations, policy):
    errors = [
        (rounded_copy(policy, observations, bits, bits)(observations) - policy(observations))
        .square()
        .mean()
        for bits in (8, 4, 2)
    ]
    assert errors[0] < errors[1] < errors[2]


def test_a_width_of_one_bit_is_refused(observations, policy):
    with pytest.raises(ParameterError, match='2 to 8'):
        rounded_copy(policy, observations, 1, 4)
