# SPDX-License-Identifier: Apache-2.0
"""Differences between methods that were trained more than once."""

from __future__ import annotations

import random

import pytest
from sqil_training.rollout import Outcome
from sqil_training.training_seeds import method_and_seed, over_seeds

STATES = [(task, seed) for seed in range(100) for task in ('lift', 'stack')]


def outcomes(wins, order=STATES):
    won = set(STATES[:wins])
    return [Outcome(task, seed, (task, seed) in won, 30, 1.0, 0.5, ()) for task, seed in order]


@pytest.mark.parametrize(
    ('profile', 'parts'),
    [
        ('int2_sqil_merged_seed3', ('int2_sqil_merged', 3)),
        ('int2_sqil_merged', ('int2_sqil_merged', None)),
        ('int2_seedless', ('int2_seedless', None)),
    ],
)
def test_a_seed_is_the_end_of_a_name(profile, parts):
    assert method_and_seed(profile) == parts


def test_methods_are_compared_over_the_seeds_that_both_have():
    results = {
        'a_seed1': outcomes(180), 'a_seed2': outcomes(190), 'a_seed3': outcomes(0),
        'b_seed2': outcomes(170), 'b_seed1': outcomes(160), 'fp': outcomes(200),
    }  # fmt: skip
    (row,) = over_seeds('a_seed1', results)
    assert (row['a'], row['b'], row['seeds']) == ('a', 'b', [1, 2])
    assert row['success_a'] == pytest.approx([0.9, 0.95])
    assert row['success_b'] == pytest.approx([0.8, 0.85])
    assert row['difference'] == pytest.approx(0.1)
    assert 0.0 < row['interval'][0] < 0.1 < row['interval'][1]


def test_states_stay_paired_in_whatever_order_they_were_run():
    shuffled = random.Random(0).sample(STATES, len(STATES))
    results = {
        f'{method}_seed{seed}': outcomes(150, order)
        for method, order in (('a', STATES), ('b', shuffled))
        for seed in (1, 2)
    }
    assert over_seeds('a_seed2', results)[0]['interval'] == [0.0, 0.0]


def test_seeds_that_disagree_widen_the_interval():
    def width(first, second):
        a = {'a_seed1': outcomes(first), 'a_seed2': outcomes(second)}
        b = {'b_seed1': outcomes(150), 'b_seed2': outcomes(150)}
        low, high = over_seeds('a_seed1', a | b)[0]['interval']
        return high - low

    assert width(120, 180) > 2 * width(150, 150) + 0.2


@pytest.mark.parametrize('reference', ['fp', 'a', 'a_seed1'])
def test_one_seed_is_no_comparison_over_seeds(reference):
    results = {name: outcomes(90) for name in ('fp', 'a', 'a_seed1', 'b_seed1', 'b_seed2')}
    assert over_seeds(reference, results) == []
