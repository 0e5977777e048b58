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
    rows = []
    for b in methods:
        seeds = sorted(methods.get(a, {}).keys() & methods[b].keys())
        if b != a and len(seeds) > 1:
            rows.append(_row(a, b, seeds, methods))
    return rows


def _row(
    a: str, b: str, seeds: Sequence[int], methods: Mapping[str, Mapping[int, Sequence[Outcome]]]
) -> dict[str, Any]:
    won = {name: np.stack([_wins(methods[name][seed]) for seed in seeds]) for name in (a, b)}
    low, high = interval(lambda mean_a, mean_b: mean_a - mean_b, won[a], won[b])
    return {
        'a': a,
        'b': b,
        'seeds': list(seeds),
        'success_a': won[a].mean(axis=1).tolist(),
        'success_b': won[b].mean(axis=1).tolist(),
        'difference': float(won[a].mean() - won[b].mean()),
        'interval': [low, high],
    }


def _wins(outcomes: Sequence[Outcome]) -> Array:
    """(states,) 0 or 1, in one order for all policies."""
    ordered = sorted(outcomes, key=lambda outcome: (outcome.task, outcome.seed))
    return np.array([float(outcome.success) for outcome in ordered])
