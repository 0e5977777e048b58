# SPDX-License-Identifier: Apache-2.0
"""Whole control steps of one network at several widths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sqil_ros.bench.energy import EnergyMeter
from sqil_ros.bench.products import COMPILED, EAGER
from sqil_ros.bench.shapes import TINY
from sqil_ros.bench.steps import STAGES, STEP, Act, config_of, runners
from sqil_ros.bench.turns import ratio


def compare_steps(
    model: str, names: Sequence[str], threads: int, rounds: int
) -> Iterator[dict[str, Any]]:
    """A row for every candidate and stage of a control step."""
    torch.set_num_threads(threads)
    config = config_of(model)
    wanted = list(dict.fromkeys(names))
    times: dict[str, list[dict[str, float]]] = {name: [] for name in wanted}
    sizes: dict[str, tuple[int, int]] = {}
    together = {}
    energy: dict[str, list[float]] = {name: [] for name in wanted}
    meter = EnergyMeter()

    def take(name: str, act: Act) -> None:
        meter.joules()
        times[name].append(act())
        if (joules := meter.joules()) is not None:
            energy[name].append(joules)
        bar.update()

    with tqdm(total=len(wanted) * rounds, desc='step', unit='step', disable=None) as bar:
        for name, runner in runners(config, wanted):
            sizes[name] = runner.weight_bytes, runner.resident_bytes
            if model.startswith(TINY):
                together[name] = runner.act
                continue
            for _ in range(rounds):
                take(name, runner.act)
        for _ in range(rounds if together else 0):
            for name, act in together.items():
                take(name, act)
    for stage in STAGES:
        spent = {
            name: np.array([found[stage] for found in all_])
            for name, all_ in times.items()
            if stage in all_[0]
        }
        full = [name for name in (EAGER, COMPILED, 'engine bf16') if name in spent]
        best = min(full, key=lambda name: float(np.median(spent[name])), default=None)
        for name, own in spent.items():
            yield {
                'model': model,
                'profile': name,
                'stage': stage,
                'ms_p50': round(float(np.median(own)), 3),
                'ms_p90': round(float(np.percentile(own, 90)), 3),
                'ms_p99': round(float(np.percentile(own, 99)), 3),
                'bytes': sizes[name][0],
                'resident_bytes': sizes[name][1],
                'joules': _joules(energy[name]) if stage == STEP else None,
                'ratio_eager': ratio(spent[EAGER], own) if EAGER in spent else None,
                'ratio_best': ratio(spent[best], own) if best else None,
                'best': best,
            }


def _joules(found: Sequence[float]) -> float | str:
    """Of a step: the mean, because counters move in milliseconds."""
    return round(float(np.mean(found)), 4) if found else 'not measured'


def step_line(row: dict[str, Any]) -> str:
    """One line of a table."""
    ratios = [
        f'{row[key]:6.2f} x {what}'
        for key, what in (('ratio_eager', 'eager'), ('ratio_best', f'{row["best"]}'))
        if row[key] is not None
    ]
    return (
        f'{row["stage"]:8} {row["profile"]:14} {row["ms_p50"]:10.2f} ms '
        f'{row["bytes"] / 1e6:9.1f} MB of weights {row["resident_bytes"] / 1e6:9.1f} MB resident  '
        + '  '.join(ratios)
    )
