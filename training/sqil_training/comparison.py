# SPDX-License-Identifier: Apache-2.0
"""Several profiles on the same initial states: how each did, and which differences are real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sqil_ros.errors import SqilError
from sqil_ros.proportions import holm, mcnemar, paired_interval
from sqil_ros.types import Array
from sqil_training.evaluation import summaries, summary
from sqil_training.motion import grip_lag
from sqil_training.rollout import Outcome
from sqil_training.training_seeds import differ_in_seed

EXPERT = 'expert'
Key = tuple[str, int]
_RESAMPLES = 2000


def by_state(outcomes: Sequence[Outcome]) -> dict[Key, Outcome]:
    """Outcomes by initial state, which is what pairs them."""
    return {(outcome.task, outcome.seed): outcome for outcome in outcomes}


def figures(
    outcomes: Sequence[Outcome], expert: Sequence[Outcome] | None, period_s: float
) -> dict[str, Any]:
    """What one profile did.

    Returns:
        ``successes, episodes, success, interval, tasks{}`` and means over its successes:
        ``steps``; ``jerk`` [m/s^3]; ``reversals`` [1/s]; ``grip_lag_s``, how far its first grip
        is off the expert's from the same state (None without an expert).
    """
    won = [outcome for outcome in outcomes if outcome.success]
    shown = by_state(expert or ())
    lags = [
        lag
        for outcome in won
        if (outcome.task, outcome.seed) in shown
        and (
            lag := grip_lag(
                outcome.grips, shown[outcome.task, outcome.seed].grips, period_s
            )
        ) is not None
    ]  # fmt: skip
    return summary(outcomes) | {
        'tasks': summaries(outcomes),
        'steps': _mean([outcome.steps for outcome in won]),
        'jerk': _mean([outcome.jerk for outcome in won]),
        'reversals': _mean([outcome.reversals for outcome in won]),
        'grip_lag_s': _mean(lags),
    }


def paired_tests(reference: str, results: Mapping[str, Sequence[Outcome]]) -> list[dict[str, Any]]:
    """``reference`` against every other policy: one family of tests, corrected by Holm.

    Policies of different training seeds are not tested against each other.

    Returns:
        Rows ``a, b, only_a, only_b, difference, interval, p, p_holm, jerk_ratio,
        reversals_ratio``, where a is the reference. A difference is of success; a ratio is of
        means over the states from which both succeeded, as ``[ratio, low, high]`` with a
        bootstrap 95 % interval over states, or None where it is undefined.

    Raises:
        SqilError: it was not evaluated, or the policies started from different states.
    """
    if reference not in results:
        raise SqilError(f'{reference} is not among {sorted(results)}; compare it, too.')
    a = by_state(results[reference])
    rows = []
    for name, outcomes in results.items():
        if name in (reference, EXPERT) or differ_in_seed(reference, name):
            continue
        b = by_state(outcomes)
        if a.keys() != b.keys():
            raise SqilError(
                f'{reference} and {name} were not evaluated from the same {len(a)} states.'
            )
        rows.append({'a': reference, 'b': name} | _paired(a, b))
    for row, p in zip(rows, holm([row['p'] for row in rows]), strict=True):
        row['p_holm'] = p
    return rows


def _paired(a: Mapping[Key, Outcome], b: Mapping[Key, Outcome]) -> dict[str, Any]:
    wins = np.array([[a[key].success, b[key].success] for key in a])
    both = [key for key in a if a[key].success and b[key].success]
    only_a, only_b = int((wins[:, 0] > wins[:, 1]).sum()), int((wins[:, 1] > wins[:, 0]).sum())
    neither = len(wins) - len(both) - only_a - only_b
    return {
        'only_a': only_a,
        'only_b': only_b,
        'difference': (only_a - only_b) / len(wins),
        'interval': paired_interval(len(both), only_a, only_b, neither),
        'p': mcnemar(only_a, only_b),
        'jerk_ratio': _ratio([a[k].jerk for k in both], [b[k].jerk for k in both]),
        'reversals_ratio': _ratio([a[k].reversals for k in both], [b[k].reversals for k in both]),
    }


def _ratio(a: Sequence[float], b: Sequence[float]) -> list[float] | None:
    """Ratio of means with a bootstrap interval over the pairs."""
    pairs: Array = np.array([a, b])
    if not len(a) or pairs[1].sum() == 0.0:
        return None
    drawn = np.random.default_rng(0).integers(len(a), size=(_RESAMPLES, len(a)))
    means = pairs[:, drawn].mean(axis=-1)
    ratios = means[0] / np.maximum(means[1], np.finfo(float).tiny)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return [float(pairs[0].sum() / pairs[1].sum()), float(low), float(high)]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
