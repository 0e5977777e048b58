# SPDX-License-Identifier: Apache-2.0
"""Episodes scored by several processes at once."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from sqil_ros.errors import ScoreError, SqilError
from sqil_training.orphans import end_with_parent
from sqil_training.score_run import Done, Job, score_share
from sqil_training.survey import Surveyed

_LISTEN_S = 1.0


def score_all(job: Job, missing: Sequence[Surveyed], workers: int) -> Iterator[Done]:
    """Score episodes on ``workers`` processes, in any order.

    Raises:
        SqilError: a process met one, or ended without a word.
    """
    shares = [missing[i::workers] for i in range(workers) if missing[i::workers]]
    if len(shares) <= 1:
        for share in shares:
            yield from score_share(job, share, job.devices[0])
        return
    context = multiprocessing.get_context('spawn')
    results: Any = context.Queue()
    processes = [
        context.Process(
            target=_worker, args=(job, share, job.devices[i % len(job.devices)], results),
            daemon=True,
        )
        for i, share in enumerate(shares)
    ]  # fmt: skip
    for process in processes:
        process.start()
    try:
        yield from _gathered(results, processes)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _gathered(results: Any, processes: Sequence[Any]) -> Iterator[Done]:
    running = len(processes)
    while running:
        try:
            message = results.get(timeout=_LISTEN_S)
        except queue.Empty:
            if lost := [p.exitcode for p in processes if p.exitcode]:
                raise ScoreError(
                    f'A scoring process ended with status {lost[0]}; finished episodes are kept. '
                    'If it ran out of memory, use fewer --workers or a smaller --batch.'
                ) from None
            continue
        if isinstance(message, SqilError):
            raise message
        if message is None:
            running -= 1
        else:
            yield message


def _worker(job: Job, share: Sequence[Surveyed], device: str, results: Any) -> None:
    """Score a share and report every :class:`Done` (or an error), then None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # in order: no scratch file stays behind
    end_with_parent()
    try:
        for done in score_share(job, share, device):
            results.put(done)
    except SqilError as error:
        results.put(error)
    results.put(None)
