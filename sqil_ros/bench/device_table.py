# SPDX-License-Identifier: Apache-2.0
"""What every product of a control step takes on a machine, at every width.

A search for the best widths asks this table instead of the machine. The time of a step is the sum
over its products, and a rest (attention, norms, what is not quantised) that has no width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from sqil_ros.bench.contestant import Contestant
from sqil_ros.bench.operations import LayerUse, Operation
from sqil_ros.bench.products import BEYOND_CACHES, native
from sqil_ros.bench.shapes import Shape
from sqil_ros.bench.turns import Candidate, take_turns
from sqil_ros.errors import BenchError

WIDTHS = (16, 8, 4, 3, 2)
FLOATS = 16
INPUTS = (FLOATS, 8)
SCHEMA = 1
_ROUNDS = 15
_MOST_CALLS, _WORK = 64, 40_000_000  # multiplications that take long enough to be timed
_NOTHING = Shape(16, 32)


@dataclass(frozen=True)
class Form:
    """Widths of a product: of its weights, and of its inputs; 16 is floating point."""

    bits: int
    input_bits: int


@dataclass(frozen=True)
class Cost:
    """Median milliseconds of a product without its call, and bytes of its weights."""

    ms: float
    bytes: int


@dataclass(frozen=True)
class DeviceTable:
    """Costs of products on one machine.

    Attributes:
        device: which, with what was set.
        costs: of every operation in every form.
    """

    device: Mapping[str, Any]
    costs: Mapping[tuple[Operation, Form], Cost]

    def predict(self, uses: Sequence[LayerUse], form_of: Mapping[str, Form]) -> float:
        """Milliseconds of all products of a step.

        Args:
            uses: of :func:`sqil_ros.bench.operations.layer_uses`.
            form_of: the widths of every layer by its name.

        Raises:
            BenchError: the table lacks a product.
        """
        return sum(use.calls * self._cost(use.operation, form_of[use.layer]).ms for use in uses)

    def _cost(self, operation: Operation, form: Form) -> Cost:
        try:
            return self.costs[operation, form]
        except KeyError:
            raise BenchError(
                f'the table has no product of {operation.rows} rows with {operation.shape} at '
                f'{form}; measure it with `sqil-bench --stage table`.'
            ) from None


def forms() -> list[Form]:
    """All that are measured; full weights with rounded inputs make no sense."""
    return [Form(b, i) for b in WIDTHS for i in INPUTS if b != FLOATS or i == FLOATS]


def measure_table(
    uses: Sequence[LayerUse], device: Mapping[str, Any], done: Callable[[], object] = lambda: None
) -> DeviceTable:
    """Measure every operation in every form, on as many threads as torch has now.

    A weight is met as in a step: after all other weights of the model were.

    Args:
        uses: of the step.
        device: for the table.
        done: called after every operation.
    """
    weights = sum({use.layer: use.operation.shape.weights for use in uses}.values())
    costs: dict[tuple[Operation, Form], Cost] = {}
    for operation in sorted({use.operation for use in uses}, key=str):
        x = torch.randn(operation.rows, operation.shape.inputs)
        contestants = {
            form: _product(form, operation.shape, x, min(weights * form.bits // 8, BEYOND_CACHES))
            for form in forms()
        }
        empty = _product(Form(FLOATS, FLOATS), _NOTHING, torch.randn(1, _NOTHING.inputs), 0)
        calls = _calls(operation)
        works = {str(form): _repeated(each.work, calls) for form, each in contestants.items()}
        works[''] = _repeated(empty.work, calls)
        times, _ = take_turns(works, _ROUNDS, torch.get_num_threads())
        call = float(np.median(times['']))
        for form, each in contestants.items():
            own = max(0.0, float(np.median(times[str(form)])) - call) / calls
            costs[operation, form] = Cost(round(own, 5), each.bytes)
        done()
    return DeviceTable(device, costs)


def write_table(table: DeviceTable, path: Path) -> None:
    """Write YAML, a line for each product."""
    rows = [
        {
            'outputs': operation.shape.outputs,
            'inputs': operation.shape.inputs,
            'rows': operation.rows,
            'bits': form.bits,
            'input_bits': form.input_bits,
            'ms': cost.ms,
            'bytes': cost.bytes,
        }
        for (operation, form), cost in table.costs.items()
    ]
    head = yaml.safe_dump({'schema': SCHEMA, 'device': dict(table.device)}, sort_keys=False)
    body = yaml.safe_dump({'products': rows}, sort_keys=False, default_flow_style=None, width=200)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + body, encoding='utf-8')


def read_table(path: Path) -> DeviceTable:
    """Inverse of :func:`write_table`.

    Raises:
        BenchError: there is no such table.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding='utf-8'))
        if raw['schema'] != SCHEMA:
            raise ValueError(f'schema {raw["schema"]}, {SCHEMA} is known')
        costs = dict(map(_entry, raw['products']))
        return DeviceTable(raw['device'], costs)
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f'{path} is no device table ({error!r}); write one with `sqil-bench --stage table`.'
        ) from error


def _calls(operation: Operation) -> int:
    """Products in a row: in a step, too, one follows the other at once."""
    work = operation.rows * operation.shape.weights
    return min(_MOST_CALLS, max(1, _WORK // work))


def _repeated(work: Candidate, calls: int) -> Candidate:
    def repeat(turn: int) -> None:
        for call in range(calls):
            work(turn * calls + call)

    return repeat


def _entry(row: Mapping[str, Any]) -> tuple[tuple[Operation, Form], Cost]:
    operation = Operation(Shape(row['outputs'], row['inputs']), row['rows'])
    cost = Cost(float(row['ms']), int(row['bytes']))
    return (operation, Form(row['bits'], row['input_bits'])), cost


def _product(form: Form, shape: Shape, x: torch.Tensor, beyond: int) -> Contestant:
    return native(form.bits, 0 if form.input_bits == FLOATS else form.input_bits)(shape, x, beyond)
