# SPDX-License-Identifier: Apache-2.0
"""Statistics against published examples and against what must always hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.proportions import holm, mcnemar, paired_interval

counts = st.integers(0, 60)


def test_exact_mcnemar():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 6) == pytest.approx(2 / 64)
    assert mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 1024)


@given(counts, counts)
def test_mcnemar_knows_no_sides_and_is_a_probability(a, b):
    assert mcnemar(a, b) == mcnemar(b, a)
    assert 0.0 < mcnemar(a, b) <= 1.0


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_and_keeps_the_order(values):
    adjusted = holm(values)
    assert all(p <= q <= 1.0 for p, q in zip(values, adjusted, strict=True))
    ranked = [q for _, q in sorted(zip(values, adjusted, strict=True))]
    assert ranked == sorted(ranked)


def test_paired_interval_of_newcombes_examples():
    # Newcombe, Statistics in Medicine 17 (1998), table III, method 10: cells e, f, g, h.
    assert paired_interval(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    assert paired_interval(0, 0, 0, 0) == (-1.0, 1.0)


@given(counts, counts, counts, counts)
def test_paired_interval_contains_the_difference_and_turns_with_the_sides(both, a, b, neither):
    if both + a + b + neither == 0:
        return
    low, high = paired_interval(both, a, b, neither)
    difference = (a - b) / (both + a + b + neither)
    assert low - 1e-9 <= difference <= high + 1e-9
    assert paired_interval(both, b, a, neither) == pytest.approx((-high, -low))
