# SPDX-License-Identifier: Apache-2.0
"""Candidates in turns, in one process, with turns that something disturbed taken again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from sqil_ros.engine.library import require_library
from sqil_ros.types import Array

T = TypeVar('T')
Candidate = Callable[[int], object]
"""Does its work once; the argument counts turns, so that it may take other memory each time."""

WARM_UP = 3
TRIES = 6
DISTURBED = 1.3
_SENTINEL = 5e-3
REST = 0.02
"""Seconds. The threads of a library that was just timed ask for more work for milliseconds, and
would share their cores with the next one's."""
_MS = 1e3


class Sentinel:
    """A piece of work for all threads that takes as long as ever if the cores are free.

    It lasts longer than a core is left to one of two threads that want it, and than a thread takes
    to wake; its memory stays in the caches.
    """

    def __init__(self, threads: int) -> None:
        self._library, self._threads = require_library(), threads
        # Two shares of ``sqil_read`` for every thread; fewer would leave one without work.
        self._words = np.ones(threads << 15, np.uint32)
        self._times = 1
        while (best := min(self._once() for _ in range(10))) < _SENTINEL:
            self._times *= 2
        self.best = best

    def quiet(self) -> bool:
        """Whether it takes about as long as ever."""
        found = self._once()
        self.best = min(self.best, found)
        return found <= DISTURBED * self.best

    def _once(self) -> float:
        start = time.perf_counter()
        for _ in range(self._times):
            self._library.sqil_read(self._words.ctypes.data, self._words.size, self._threads)
        return time.perf_counter() - start


def milliseconds(work: Callable[[], object]) -> float:
    """That something takes."""
    start = time.perf_counter()
    work()
    return _MS * (time.perf_counter() - start)


def undisturbed(work: Callable[[int], T], sentinel: Sentinel, tries: int) -> tuple[T, bool]:
    """What a turn brings, and whether nothing disturbed it.

    A turn beside a disturbed sentinel is taken again; the last one counts as it is. Before either
    sentinel there is a rest.

    Args:
        work: one turn, given which try it is.
        sentinel: of as many threads.
        tries: at most so many.
    """
    for attempt in range(tries):
        time.sleep(REST)
        before = sentinel.quiet()
        found = work(attempt)
        time.sleep(REST)
        if before and sentinel.quiet():
            return found, True
    return found, False


def take_turns(
    candidates: Mapping[str, Candidate],
    rounds: int,
    threads: int,
    done: Callable[[], object] = lambda: None,
) -> tuple[dict[str, Array], dict[str, int]]:
    """(rounds,) milliseconds of every candidate, and how many of its turns stayed disturbed.

    Round i of all candidates lies next to each other in time. The work is done twice in a row and
    the second time counts: by then its threads are awake, as between the layers of a network.

    Args:
        candidates: by name.
        rounds: that count; :data:`WARM_UP` more come first.
        threads: that they use.
        done: called after every round.
    """
    sentinel, disturbed = Sentinel(threads), dict.fromkeys(candidates, 0)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(WARM_UP + rounds):
        for name, work in candidates.items():

            def take(attempt: int, work: Candidate = work, turn: int = turn) -> float:
                work(2 * (turn + attempt))
                return milliseconds(lambda: work(2 * (turn + attempt) + 1))

            spent, quiet = undisturbed(take, sentinel, TRIES)
            disturbed[name] += turn >= WARM_UP and not quiet
            times[name].append(spent)
        done()
    return {name: np.array(found[WARM_UP:]) for name, found in times.items()}, disturbed


def ratio(than: Array, own: Array) -> float:
    """How many times as fast as another: the median over the rounds."""
    return round(float(np.median(than / own)), 3)
