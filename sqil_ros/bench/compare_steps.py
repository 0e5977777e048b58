# SPDX-License-Identifier: Apache-2.0
"""Whole control steps of one network at several widths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sqil_ros.bench.energy.meter import EnergyMeter
from sqil_ros.bench.products import COMPILED, EAGER
from sqil_ros.bench.shapes import TINY
from sqil_ros.bench.step_record import StepRecord
from sqil_ros.bench.steps import STAGES, Act, config_of, runners
from sqil_ros.bench.turns import TRIES, Sentinel, ratio, undisturbed


def compare_steps(
    model: str, names: Sequence[str], threads: int, rounds: int, together: bool = False
) -> Iterator[dict[str, Any]]:
    """A row for every candidate and stage of a control step.

    Args:
        model: whose shapes.
        names: of candidates.
        threads: that they use.
        rounds: steps of each.
        together: large networks take turns, too; memory must hold them all.
    """
    records = _measured(model, list(dict.fromkeys(names)), threads, rounds, together)
    for stage in STAGES:
        spent = {n: record.spent(stage) for n, record in records.items() if stage in record.stages}
        full = [name for name in (EAGER, COMPILED, 'engine bf16') if name in spent]
        best = min(full, key=lambda name: float(np.median(spent[name])), default=None)
        for name, own in spent.items():
            yield {
                'model': model,
                'profile': name,
                'stage': stage,
                **records[name].facts(stage),
                'ratio_eager': ratio(spent[EAGER], own) if EAGER in spent else None,
                'ratio_best': ratio(spent[best], own) if best else None,
                'best': best,
            }


def _measured(
    model: str, names: list[str], threads: int, rounds: int, together: bool
) -> dict[str, StepRecord]:
    """Small networks take turns; of large ones memory may hold only one."""
    torch.set_num_threads(threads)
    small = model.startswith(TINY)
    # A step that takes seconds is not taken again because of a disturbance; it is counted.
    sentinel, tries = Sentinel(threads), TRIES if small else 1
    meter = EnergyMeter()
    records: dict[str, StepRecord] = {}
    acts: dict[str, Act] = {}

    def take_turns(count: int) -> None:
        for _ in range(count):
            for name, act in acts.items():

                def turn(_: int, act: Act = act) -> tuple[dict[str, float], float | None]:
                    return meter.metered(act)

                (times, joules), quiet = undisturbed(turn, sentinel, tries)
                records[name].add(times, joules, quiet)
                bar.update()

    with tqdm(total=len(names) * rounds, desc='step', unit='step', disable=None) as bar:
        for name, runner in runners(config_of(model), names):
            records[name] = StepRecord.of(runner, threads, meter.names)
            acts[name] = runner.act
            del runner
            if not (small or together):
                take_turns(rounds)
                acts.clear()
        take_turns(rounds)
    return records


def step_line(row: dict[str, Any]) -> str:
    """One line of a table."""
    ratios = [
        f'{row[key]:6.2f} x {what}'
        for key, what in (('ratio_eager', 'eager'), ('ratio_best', f'{row["best"]}'))
        if row[key] is not None
    ]
    return (
        f'{row["stage"]:8} {row["profile"]:14} {row["ms_p50"]:10.2f} ms {row["of_read"]:6.0%} of '
        f'read {row["bytes"] / 1e6:9.1f} MB of weights {row["resident_bytes"] / 1e6:9.1f} MB '
        f'resident  {"  ".join(ratios)}'
    )
