# SPDX-License-Identifier: Apache-2.0
"""Where the milliseconds go: spans of one step, and percentiles over the last steps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from sqil_ros.errors import ParameterError

_NS_PER_MS = 1e6


class Spans:
    """Named durations of one control step.

    ::

        spans = Spans()
        with spans('vision'):
            features = encoder(pixels)
        chunk = ActionChunk(actions, spans.milliseconds)

    A name that is entered twice adds up, so that a loop of decoder steps is one stage.
    """

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        """Start empty; ``clock`` returns nanoseconds and never runs backwards."""
        self._clock = clock
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time spent in the ``with`` block to stage ``name``, also when it raises."""
        start = self._clock()
        try:
            yield
        finally:
            self.add(name, (self._clock() - start) / _NS_PER_MS)

    def add(self, name: str, milliseconds: float) -> None:
        """Add a duration that was measured elsewhere."""
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + milliseconds


@dataclass(frozen=True)
class StageLatency:
    """One stage over the window, in milliseconds."""

    last: float
    p50: float
    p95: float
    p99: float
    count: int


class LatencyWindow:
    """The last ``capacity`` durations of every stage, in the order the stages first appeared."""

    def __init__(self, capacity: int = 500) -> None:
        """Start empty.

        Raises:
            ParameterError: ``capacity`` is below 1.
        """
        if capacity < 1:
            raise ParameterError(
                f'A latency window of {capacity} steps keeps nothing; use at least 1.'
            )
        self.capacity = capacity
        self._stages: dict[str, deque[float]] = {}

    def add(self, spans: Mapping[str, float]) -> None:
        """Append one step's ``{stage: milliseconds}``."""
        for stage, milliseconds in spans.items():
            window = self._stages.setdefault(stage, deque(maxlen=self.capacity))
            window.append(milliseconds)

    def clear(self) -> None:
        """Forget everything, for instance when another profile takes over."""
        self._stages.clear()

    def summary(self) -> dict[str, StageLatency]:
        """Last value and percentiles (linear between ranks) of every stage seen so far."""
        return {stage: _summarize(window) for stage, window in self._stages.items()}


def _summarize(window: deque[float]) -> StageLatency:
    p50, p95, p99 = np.percentile(np.fromiter(window, float, len(window)), (50, 95, 99))
    return StageLatency(window[-1], float(p50), float(p95), float(p99), len(window))
