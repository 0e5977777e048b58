# SPDX-License-Identifier: Apache-2.0
"""All counters of a machine as one meter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from sqil_ros.bench.energy.gpus import Gpus
from sqil_ros.bench.energy.packages import Packages
from sqil_ros.bench.energy.rails import Rails

T = TypeVar('T')


class Counter(Protocol):
    """One of the machine's own counters."""

    name: str

    def joules(self) -> float | None:
        """Since the last call; None where nothing is measured."""


class EnergyMeter:
    """Joules of everything that is counted since the meter was last asked."""

    def __init__(self, counters: Sequence[Counter] | None = None) -> None:
        """Find the counters.

        Args:
            counters: those of this machine if left out.
        """
        known = (Packages(), Gpus(), Rails()) if counters is None else counters
        self._counters = [counter for counter in known if counter.joules() is not None]

    @property
    def names(self) -> list[str]:
        """What is counted, such as ``processor packages``; empty where nothing is."""
        return [counter.name for counter in self._counters]

    def joules(self) -> float | None:
        """Since the last call; None where nothing is measured, or a counter has vanished."""
        found = [counter.joules() for counter in self._counters]
        known = [joules for joules in found if joules is not None]
        return sum(known) if known and len(known) == len(found) else None

    def metered(self, work: Callable[[], T]) -> tuple[T, float | None]:
        """What a piece of work brings, and the joules that it took."""
        self.joules()
        return work(), self.joules()
