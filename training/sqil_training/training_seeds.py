# SPDX-License-Identifier: Apache-2.0
"""Methods that were trained more than once: what of a difference is left over their seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sqil_ros.types import Array
from sqil_training.bootstrap import interval
from sqil_training.rollout import Outcome

_NAME = re.compile(r'(?P<method>.+)_seed(?P<seed>\d+)')


def method_and_seed(profile: str) -> tuple[str, int | None]:
    """``int2_sqil_merged_seed3`` is ``int2_sqil_merged``, 3; without a seed it is itself, None."""
    found = _NAME.fullmatch(profile)
    return (found['method'], int(found['seed'])) if found else (profile, None)


def differ_in_seed(one: str, other: str) -> bool:
    """Whether both profiles name a training seed, and not the same."""
    seeds = {method_and_seed(one)[1], method_and_seed(other)[1]}
    return len(seeds) > 1 and None not in seeds


def over_seeds(reference: str, results: Mapping[str, Sequence[Outcome]]) -> list[dict[str, Any]]:
    """The method of ``reference`` against every other, over the seeds that both have.

    A policy trained again differs by more than its initial states can tell (Henderson et al.,
    arXiv 1709.06560), so seeds and states are drawn for themselves and crossed.

    Args:
        reference: a profile of the method.
        results: outcomes of the same states by profile.

    Returns:
        Rows ``a, b, seeds, success_a, success_b, difference, interval``, the two successes a
        value a seed; none of a method that shares fewer than two seeds with the reference.
    """
    methods: dict[str, dict[int, Sequence[Outcome]]] = {}
    for profile, outcomes in results.items():
        method, seed = method_and_seed(profile)
        if seed is not None:
            methods.setdefault(method, {})[seed] = outcomes
    a = method_and_seed(reference)[0]
    own = methods.pop(a, {})
    rows = []
    for b, other in methods.items():
        seeds = sorted(own.keys() & other.keys())
        if len(seeds) > 1:
            pairs = [(own[seed], other[seed]) for seed in seeds]
            rows.append({'a': a, 'b': b, 'seeds': seeds} | _difference(pairs))
    return rows


def _difference(
    pairs: Sequence[tuple[Sequence[Outcome], Sequence[Outcome]]],
) -> dict[str, Any]:
    """Successes of both methods, and what lies between them, from a pair of policies a seed."""
    a, b = (np.stack([_wins(outcomes) for outcomes in one]) for one in zip(*pairs, strict=True))
    low, high = interval(lambda mean_a, mean_b: mean_a - mean_b, a, b)
    return {
        'success_a': a.mean(axis=1).tolist(),
        'success_b': b.mean(axis=1).tolist(),
        'difference': float(a.mean() - b.mean()),
        'interval': [low, high],
    }


def _wins(outcomes: Sequence[Outcome]) -> Array:
    """(states,) 0 or 1, in one order for all policies."""
    ordered = sorted(outcomes, key=lambda outcome: (outcome.task, outcome.seed))
    return np.array([float(outcome.success) for outcome in ordered])
