# SPDX-License-Identifier: Apache-2.0
"""A device table, and how well it predicts whole steps."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sqil_ros.bench.compare_steps import compare_steps
from sqil_ros.bench.device_table import (
    FLOATS,
    DeviceTable,
    Form,
    forms,
    measure_table,
    write_table,
)
from sqil_ros.bench.operations import LayerUse, layer_uses
from sqil_ros.bench.steps import STEP, WORDS, config_of
from sqil_ros.engine.library import level
from sqil_ros.provenance import provenance

_FULL = Form(FLOATS, FLOATS)


def tabulate(model: str, path: Path, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Write the table of a model's products; a row for every width of a whole step.

    Args:
        model: one of :data:`sqil_ros.bench.shapes.SHAPES`.
        path: of the table.
        threads: of both.
        rounds: of the steps that are predicted.
    """
    torch.set_num_threads(threads)
    uses = list(layer_uses(config_of(model), WORDS))
    device = {**provenance()['machine'], 'level': level(), 'threads': threads, 'model': model}
    total = len({use.operation for use in uses})
    with tqdm(total=total, desc='table', unit='product', disable=None) as bar:
        table = measure_table(uses, device, bar.update)
    write_table(table, path)
    names = {name_of(form): form for form in forms()}
    steps = {
        row['profile']: row['ms_p50']
        for row in compare_steps(model, list(names), threads, rounds)
        if row['stage'] == STEP
    }
    return predictions(table, uses, names, steps)


def name_of(form: Form) -> str:
    """As :func:`sqil_ros.bench.steps.widths_of` reads it."""
    return 'engine bf16' if form == _FULL else f'engine W{form.bits}A{form.input_bits}'


def predictions(
    table: DeviceTable,
    uses: Sequence[LayerUse],
    names: Mapping[str, Form],
    steps: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Predicted and measured steps; each is predicted with the rest that the others have.

    Args:
        table: of the products.
        uses: products of a step.
        names: forms by candidate.
        steps: measured milliseconds by candidate.
    """
    layers = [use.layer for use in uses]
    sums = {name: table.predict(uses, dict.fromkeys(layers, form)) for name, form in names.items()}
    rows: list[dict[str, Any]] = []
    for name in names:
        rest = statistics.median(steps[other] - sums[other] for other in names if other != name)
        rows.append(
            {
                'stage': 'table',
                'profile': name,
                'ms_predicted': round(rest + sums[name], 3),
                'ms_p50': steps[name],
                'error': round((rest + sums[name]) / steps[name] - 1.0, 4),
                'rest_ms': round(rest, 3),
            }
        )
    # Spearman's: the correlation of the places in the order of time.
    predicted, measured = (
        np.argsort(np.argsort(np.array([row[key] for row in rows], float)))
        for key in ('ms_predicted', 'ms_p50')
    )
    order = round(float(np.corrcoef(predicted, measured)[0, 1]), 3)
    return [row | {'rank_correlation': order} for row in rows]


def prediction_line(row: dict[str, Any]) -> str:
    """One line of a table."""
    return (
        f'{row["profile"]:14} predicted {row["ms_predicted"]:10.2f} ms, measured '
        f'{row["ms_p50"]:10.2f} ms, {row["error"]:+6.1%}  (rank correlation of all '
        f'{row["rank_correlation"]})'
    )
