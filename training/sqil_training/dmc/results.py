# SPDX-License-Identifier: Apache-2.0
"""What a result file says about a task."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from sqil_ros.types import Array
from sqil_training.bootstrap import interval, ratio
from sqil_training.dmc.evaluation import FIRST_SEED
from sqil_training.dmc.pipeline import Experiment
from sqil_training.dmc.settings import FULL_PRECISION, METHODS
from sqil_training.dmc.world import STEPS


def task_result(experiment: Experiment) -> dict[str, Any]:
    """Returns of all methods on one task, with 95 % intervals, and their shares of ``fp``.

    A share is the ratio of mean returns; both are drawn alike, so it is a paired interval.

    Raises:
        EpisodeError, TrainingError: see :meth:`~.pipeline.Experiment.returns`.
    """
    expert = np.array([one.rewards.mean() for one in experiment.demonstrations])
    task = experiment.task
    returns = {method: experiment.returns(method) for method in METHODS}
    return {
        'expert': {
            'merit': task.merit.__name__,
            'practice': asdict(task.practice),
            'episodes': task.episodes,
            'steps': task.steps,
            'noise': task.noise,
            'return_per_1000_steps': round(STEPS * float(expert.mean()), 1),
        },
        'first_seed': FIRST_SEED,
        'methods': {
            method: _method(found, returns[FULL_PRECISION]) for method, found in returns.items()
        },
    }


def _method(found: Array, full: Array) -> dict[str, Any]:
    share = interval(ratio, found, full)
    return {
        'mean': round(float(found.mean()), 1),
        'interval': [round(end, 1) for end in interval(lambda mean: mean, found)],
        'share': round(float(found.mean() / full.mean()), 4),
        # Where full precision may earn nothing there is no share of it.
        'share_interval': [round(end, 4) for end in share] if np.isfinite(share).all() else None,
        'returns': np.round(found, 1).tolist(),
    }
