# SPDX-License-Identifier: Apache-2.0
"""The expert, in a world that is one line of arithmetic."""

from __future__ import annotations

import numpy as np
from sqil_training.dmc.planner import Expert, Foresight, between_knots, blend


class Rail:
    """A point on a line that moves as far as it is told to."""

    action_size = 1

    def __init__(self, place):
        self.place = place

    def step(self, action):
        self.place += 0.1 * float(action[0])

    def imagine(self, plans):
        return self.place + 0.1 * plans.cumsum(axis=1)


def near_zero(states):
    return np.exp(-np.square(states[..., 0]))


def expert(world, seed=0):
    return Expert(world, near_zero, Foresight(10, 3, 16), np.random.default_rng(seed))


def test_the_expert_goes_where_it_is_good_and_stays():
    world = Rail(0.8)
    one = expert(world)
    for _ in range(30):
        world.step(one.act())
    assert abs(world.place) < 0.1


def test_the_same_chance_gives_the_same_controls():
    first, second = ([one.act() for _ in range(5)] for one in (expert(Rail(1)), expert(Rail(1))))
    np.testing.assert_array_equal(first, second)


def test_controls_stay_in_range():
    one = expert(Rail(50.0))
    assert all(np.abs(one.act()).max() <= 1.0 for _ in range(5))


def test_between_knots_it_is_straight():
    values = np.array([[[0.0], [1.0], [0.0]]])
    np.testing.assert_allclose(between_knots(values, 5)[0, :, 0], [0.0, 0.5, 1.0, 0.5, 0.0])
    np.testing.assert_array_equal(between_knots(values[:, :1], 3), np.zeros((1, 3, 1)))


def test_better_plans_weigh_more_and_equal_ones_the_same():
    weights = blend(np.array([0.0, 0.5, 1.0]), 0.5)
    np.testing.assert_allclose(weights.sum(), 1.0)
    assert weights[0] < weights[1] < weights[2]
    np.testing.assert_allclose(blend(np.full(4, 0.3), 0.1), 0.25)
