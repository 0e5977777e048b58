# SPDX-License-Identifier: Apache-2.0
"""How episodes ended, and the result file made of that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sqil_ros.proportions import wilson_interval


@dataclass(frozen=True)
class Outcome:
    """How one episode ended.

    Attributes:
        task: name of the task.
        seed: initial state of the scene.
        success: whether the task was done, and stayed done, before the steps ran out.
        steps: number of actions.
        seconds: from arming to the end.
        latency_ms: from the image's stamp to the action's publishing, per action.
        fault: why the episode was cut off; empty otherwise.
        films: one JPEG strip per camera, oldest picture first.
    """

    task: str
    seed: int
    success: bool
    steps: int
    seconds: float
    latency_ms: tuple[float, ...] = ()
    fault: str = ''
    films: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Tally:
    """Successes among episodes."""

    successes: int
    episodes: int

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Tally:
        """Count."""
        wins = [outcome.success for outcome in outcomes]
        return cls(sum(wins), len(wins))

    @property
    def share(self) -> float:
        """Successes per episode, 0 without any."""
        return self.successes / max(1, self.episodes)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        return wilson_interval(self.successes, self.episodes)

    def as_json(self) -> dict[str, Any]:
        """The fields that sqil-eval writes, too."""
        return {
            'successes': self.successes,
            'episodes': self.episodes,
            'success': self.share,
            'interval': list(self.interval),
        }


def by_task(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """The outcomes of every task, tasks in the order in which they first appear."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.task, []).append(outcome)
    return groups


def median_steps(outcomes: Sequence[Outcome]) -> int | None:
    """Median number of actions of the successes, the larger of two; None without a success."""
    steps = sorted(outcome.steps for outcome in outcomes if outcome.success)
    return steps[len(steps) // 2] if steps else None


def percentiles(latency_ms: Sequence[float]) -> dict[str, float | None]:
    """Median and tail [ms] (linear between ranks); None without a single action."""
    names = ('p50', 'p95', 'p99')
    if not latency_ms:
        return dict.fromkeys(names)
    values = np.percentile(latency_ms, (50, 95, 99)).round(1).tolist()
    return dict(zip(names, values, strict=True))


def result(
    outcomes: Sequence[Outcome], profile: str, ticks: int, missed_ticks: int
) -> dict[str, Any]:
    """The content of result.json, less its provenance.

    Args:
        outcomes: all episodes.
        profile: precision that the policy ran at.
        ticks: control ticks with an action, as the policy node counts them.
        missed_ticks: control ticks without one.
    """
    total = Tally.of(outcomes)
    return {
        'profile': profile,
        'seeds': sorted({outcome.seed for outcome in outcomes}),
        'success': total.share,
        'interval': list(total.interval),
        'tasks': {name: Tally.of(group).as_json() for name, group in by_task(outcomes).items()},
        'episodes': [
            {
                'task': outcome.task,
                'seed': outcome.seed,
                'success': outcome.success,
                'steps': outcome.steps,
                'seconds': round(outcome.seconds, 2),
                'latency_ms': percentiles(outcome.latency_ms),
                'fault': outcome.fault,
            }
            for outcome in outcomes
        ],
        'ticks': ticks,
        'missed_ticks': missed_ticks,
        'latency_ms': percentiles([ms for outcome in outcomes for ms in outcome.latency_ms]),
    }
