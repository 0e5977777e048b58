# SPDX-License-Identifier: Apache-2.0
"""Which episodes are performed, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqil_ros.errors import ParameterError
from sqil_ros.sim.tasks import Task, task_by_name

FIRST_SEED = 10000
_LAST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Episode:
    """One try at one task; ``seed`` decides where the objects are."""

    task: Task
    seed: int

    @property
    def id(self) -> str:
        """Name under which its actions and events travel."""
        return f'{self.task.name}-{self.seed}'


def plan(tasks: Sequence[str], episodes: int, first_seed: int = FIRST_SEED) -> tuple[Episode, ...]:
    """All tasks on the first seed, then all tasks on the next.

    A run that is cut short has then tried every task about equally often.

    Args:
        tasks: names of tasks.
        episodes: number of seeds.
        first_seed: the seeds count up from here; policies are trained on those below 10000.

    Raises:
        SceneError: there is no such task.
        ParameterError: nothing to do, a task twice, or a seed that no generator takes.
    """
    chosen = [task_by_name(name) for name in tasks]
    if len(set(tasks)) != len(tasks):
        raise ParameterError(f'tasks are {", ".join(tasks)}; name each of them once.')
    if not chosen or episodes < 1:
        raise ParameterError(
            f'{len(chosen)} tasks with {episodes} episodes each are nothing to do; use at least 1.'
        )
    if not 0 <= first_seed <= _LAST_SEED - episodes:
        raise ParameterError(
            f'first_seed is {first_seed}; it must be from 0 to {_LAST_SEED - episodes}.'
        )
    return tuple(
        Episode(task, seed) for seed in range(first_seed, first_seed + episodes) for task in chosen
    )
