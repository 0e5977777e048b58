# SPDX-License-Identifier: Apache-2.0
"""Products of one shape, all ways to compute them in turns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sqil_ros.bench.contestant import Contestant
from sqil_ros.bench.freed_memory import keep_freed_memory
from sqil_ros.bench.products import (
    BEYOND_CACHES,
    CONTESTANTS,
    EAGER,
    PREPACKED,
    SINGLE,
    read_test,
    refusal,
)
from sqil_ros.bench.shapes import PREFILL, Shape
from sqil_ros.bench.turns import ratio, take_turns

GEMV, GEMM = 'gemv', 'gemm'
_READ = 'read'


def compare_products(
    stage: str, model: str, shape: Shape, names: Sequence[str], threads: int, rounds: int
) -> Iterator[dict[str, Any]]:
    """A row for every candidate at one shape."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    rows = 1 if stage == GEMV else PREFILL[model]
    beyond = BEYOND_CACHES if stage == GEMV else 0
    x = torch.randn(rows, shape.inputs, generator=torch.Generator().manual_seed(0))
    wanted = dict.fromkeys([EAGER, PREPACKED, *names])
    contestants: dict[str, Contestant] = {}
    for name in wanted:
        if reason := refusal(name, shape):
            print(f'{name} is left out at {shape}: {reason}', file=sys.stderr)
        else:
            contestants[name] = CONTESTANTS[name](shape, x, beyond)
    contestants[_READ] = read_test(threads)
    with tqdm(desc=f'{stage} {shape}', unit='round', disable=None) as bar:
        works = {name: each.work for name, each in contestants.items()}
        times, disturbed = take_turns(works, rounds, threads, bar.update)
    read = _rate(contestants[_READ].bytes, float(np.median(times.pop(_READ))))
    baselines = [name for name in (EAGER, PREPACKED, SINGLE, 'engine bf16') if name in times]
    best = min(baselines, key=lambda name: float(np.median(times[name])))
    for name, own in times.items():
        size, median = contestants[name].bytes, float(np.median(own))
        rate = _rate(size, median)
        yield {
            'model': model,
            'profile': name,
            'stage': stage,
            'shape': str(shape),
            'rows': rows,
            'ms_p50': round(median, 4),
            'ms_p90': round(float(np.percentile(own, 90)), 4),
            'ms_p99': round(float(np.percentile(own, 99)), 4),
            'bytes': size,
            'GBps': round(rate, 2),
            'read_GBps': round(read, 2),
            'of_read': round(rate / read, 3),
            'GFLOPs': round(2e-6 * rows * shape.weights / median, 1),
            'ratio_eager': ratio(times[EAGER], own),
            'ratio_best': ratio(times[best], own),
            'best': best,
            'disturbed': disturbed[name],
        }


def product_line(row: dict[str, Any]) -> str:
    """One line of a table."""
    return (
        f'{row["stage"]:5} {row["shape"]:12} {row["profile"]:18} {row["ms_p50"]:9.3f} ms '
        f'{row["GBps"]:7.1f} GB/s {row["of_read"]:6.0%} of read {row["GFLOPs"]:8.1f} GFLOP/s  '
        f'{row["ratio_eager"]:6.2f} x eager  {row["ratio_best"]:5.2f} x best unquantised'
    )


def _rate(size: int, milliseconds: float) -> float:
    """Gigabytes per second."""
    return size / milliseconds / 1e6
