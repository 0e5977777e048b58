# SPDX-License-Identifier: Apache-2.0
"""Jobs on several processes, those of one task always on the same, which has its scene."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from typing import Protocol, TypeVar

from sqil_training.libero.tasks import task_by_name
from sqil_training.orphans import end_with_parent


class Job(Protocol):
    """Something to be done in the scene of a task."""

    @property
    def task(self) -> str:
        """Name of the task."""


Work = TypeVar('Work', bound=Job)
Result = TypeVar('Result')


def results(
    function: Callable[[Work], Result], jobs: Sequence[Work], workers: int
) -> Iterator[Result]:
    """What ``function`` makes of every job, as it comes.

    Args:
        function: of a module, so that a process can find it.
        jobs: those of a task are done in their order.
        workers: number of processes; more than there are tasks are of no use.

    Raises:
        SqilError: as ``function`` does; what has not begun by then is not done.
    """
    context = multiprocessing.get_context('spawn')
    with ExitStack() as stack:
        pools = []
        for _ in range(workers):
            pool = ProcessPoolExecutor(1, context, end_with_parent)
            stack.callback(pool.shutdown, cancel_futures=True)
            pools.append(pool)
        waiting = [
            pools[task_by_name(job.task).index % workers].submit(function, job) for job in jobs
        ]
        for future in as_completed(waiting):
            yield future.result()
