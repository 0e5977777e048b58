# SPDX-License-Identifier: Apache-2.0
"""The loop that trains policies over vectors, and its loss."""

from __future__ import annotations

import copy

import pytest
import torch
from sqil_training.dmc.policy import new_policy
from sqil_training.dmc.student import rounded_copy
from sqil_training.dmc.training import Course, Frames, policy_loss, train
from sqil_training.finetune.objective import OBJECTIVES

from sqil_ros.errors import TrainingError

COURSE = Course(steps=150, batch=32, rate=3e-3, seed=0)


@pytest.fixture
def frames():
    chance = torch.Generator().manual_seed(0)
    observations = torch.randn(256, 3, generator=chance)
    actions = (observations @ torch.randn(3, 2, generator=chance)).tanh()
    return Frames(observations, actions, torch.ones(256))


@pytest.fixture
def policy(frames):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return new_policy(frames.observations, 2, 16)


def answers():
    chance = torch.Generator().manual_seed(1)
    return torch.randn(2, 8, 4, generator=chance), torch.randn(8, 2, generator=chance)


def test_the_distance_is_the_weighted_mean_square_of_all_outputs():
    (answer, wanted), actions = answers()
    alpha = torch.arange(1.0, 9.0)
    found = policy_loss(OBJECTIVES['sqil'], answer, wanted, actions, alpha)
    expected = (alpha * (answer - wanted).square().mean(dim=1)).mean()
    torch.testing.assert_close(found.distillation, expected)
    torch.testing.assert_close(found.total, found.imitation + found.distillation)


def test_weights_of_one_make_sqil_qbc_and_none_makes_it_qat():
    (answer, wanted), actions = answers()
    ones = torch.ones(8)
    sqil, qbc, qat = (
        policy_loss(OBJECTIVES[name], answer, wanted, actions, ones)
        for name in ('sqil', 'qbc', 'qat')
    )
    assert torch.equal(sqil.total, qbc.total) and torch.equal(qat.total, qat.imitation)


def test_cloning_learns_and_the_same_seed_learns_the_same(frames, policy):
    twin = copy.deepcopy(policy)
    before = policy_loss(
        OBJECTIVES['qat'], policy(frames.observations), torch.zeros(256, 4), frames.actions,
        frames.alpha,
    ).total  # fmt: skip
    for one in (policy, twin):
        train(one, one, OBJECTIVES['qat'], frames, COURSE)
    after = policy_loss(
        OBJECTIVES['qat'], policy(frames.observations), torch.zeros(256, 4), frames.actions,
        frames.alpha,
    ).total  # fmt: skip
    assert after < before - 0.5
    states = policy.state_dict(), twin.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_student_comes_nearer_to_its_teacher(frames, policy):
    train(policy, policy, OBJECTIVES['qat'], frames, COURSE)
    student = rounded_copy(policy, frames.observations, 3, 3)

    def distance():
        return (student(frames.observations) - policy(frames.observations)).square().mean().item()

    before = distance()
    train(student, policy, OBJECTIVES['sqil'], frames, COURSE)
    assert distance() < before


def test_a_loss_that_is_no_number_ends_the_training(frames, policy):
    with torch.no_grad():
        policy[-1].bias.fill_(float('nan'))
    with pytest.raises(TrainingError, match='at step 0'):
        train(policy, policy, OBJECTIVES['qat'], frames, COURSE)
