# SPDX-License-Identifier: Apache-2.0
"""What was measured of one candidate's control steps, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sqil_ros.bench.products import BEYOND_CACHES, read_test
from sqil_ros.bench.steps import STEP, Runner
from sqil_ros.bench.turns import milliseconds
from sqil_ros.types import Array

_READS = 20


@dataclass
class StepRecord:
    """Times of one network, step by step.

    Attributes:
        weight_bytes: of all weights as held in memory.
        file_bytes: of all weights on disk.
        resident_bytes: by which the process grew.
        moved: bytes of weights that every stage reads.
        read_rate: at which as much memory as its weights take is read [GB/s], which no stage that
            reads them can pass.
        counters: whose energy is counted.
        times: milliseconds of every stage of every step.
        joules: of every step, where they could be read.
        disturbed: steps that something disturbed.
    """

    weight_bytes: int
    file_bytes: int
    resident_bytes: int
    moved: Mapping[str, int]
    read_rate: float
    counters: Sequence[str]
    times: list[dict[str, float]] = field(default_factory=list)
    joules: list[float] = field(default_factory=list)
    disturbed: int = 0

    @classmethod
    def of(cls, runner: Runner, threads: int, counters: Sequence[str]) -> StepRecord:
        """An empty one, which does not hold the network."""
        return cls(
            runner.weight_bytes,
            runner.file_bytes,
            runner.resident_bytes,
            runner.moved,
            read_rate(runner.weight_bytes, threads),
            counters,
        )

    def add(self, times: dict[str, float], joules: float | None, quiet: bool) -> None:
        """Take in a step."""
        self.times.append(times)
        self.disturbed += not quiet
        if joules is not None:
            self.joules.append(joules)

    @property
    def stages(self) -> set[str]:
        """Those that this candidate tells apart."""
        return set(self.times[0])

    def spent(self, stage: str) -> Array:
        """(steps,) milliseconds of a stage."""
        return np.array([times[stage] for times in self.times])

    def facts(self, stage: str) -> dict[str, Any]:
        """Fields of a result's row that concern this candidate alone."""
        own, moved = self.spent(stage), self.moved[stage]
        median = float(np.median(own))
        rate = moved / median / 1e6
        return {
            'ms_p50': round(median, 3),
            'ms_p90': round(float(np.percentile(own, 90)), 3),
            'ms_p99': round(float(np.percentile(own, 99)), 3),
            'hz': round(1e3 / median, 3),
            'bytes': self.weight_bytes,
            'file_bytes': self.file_bytes,
            'resident_bytes': self.resident_bytes,
            'moved_bytes': moved,
            'GBps': round(rate, 2),
            'read_GBps': round(self.read_rate, 2),
            'of_read': round(rate / self.read_rate, 3),
            'joules': _mean_joules(self.joules) if stage == STEP else None,
            'joules_of': list(self.counters),
            'disturbed': self.disturbed,
        }


def read_rate(size: int, threads: int) -> float:
    """Gigabytes a second at which memory of a size is read again and again."""
    reader = read_test(threads, min(size, BEYOND_CACHES))
    spent = [milliseconds(lambda: reader.work(0)) for _ in range(_READS)]
    return reader.bytes / float(np.median(spent)) / 1e6


def _mean_joules(found: Sequence[float]) -> float | str:
    """Of a step: the mean, because counters move in milliseconds."""
    return round(float(np.mean(found)), 4) if found else 'not measured'
