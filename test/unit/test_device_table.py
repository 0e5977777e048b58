# SPDX-License-Identifier: Apache-2.0
"""The cost of every product of a step, kept, summed and compared with whole steps."""

from __future__ import annotations

from collections import Counter

import pytest

from sqil_ros.bench import device_table, turns
from sqil_ros.bench.device_table import (
    Cost,
    DeviceTable,
    Form,
    forms,
    measure_table,
    read_table,
    write_table,
)
from sqil_ros.bench.operations import LayerUse, Operation, layer_uses
from sqil_ros.bench.shapes import Shape
from sqil_ros.bench.steps import WORDS, config_of
from sqil_ros.bench.table_stage import name_of, predictions
from sqil_ros.engine.library import library
from sqil_ros.errors import BenchError

SMALL, LARGE = Operation(Shape(64, 32), 1), Operation(Shape(64, 64), 9)
FULL, FOUR = Form(16, 16), Form(4, 8)
USES = [LayerUse('a', SMALL, 6), LayerUse('b', LARGE, 1)]
TABLE = DeviceTable(
    {'processor': 'an abacus', 'threads': 2},
    {
        (SMALL, FULL): Cost(1.0, 4096),
        (LARGE, FULL): Cost(10.0, 8192),
        (SMALL, FOUR): Cost(0.5, 1280),
        (LARGE, FOUR): Cost(4.0, 2304),
    },
)


def test_a_table_is_read_as_it_was_written(tmp_path):
    write_table(TABLE, tmp_path / 'new' / 'abacus.yaml')
    assert read_table(tmp_path / 'new' / 'abacus.yaml') == TABLE


@pytest.mark.parametrize('text', ['', 'schema: 2', 'schema: 1', '{', 'schema: 1\nproducts: [3]'])
def test_what_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / 'broken.yaml'
    path.write_text(text)
    with pytest.raises(BenchError, match=r'broken.yaml.*--stage table'):
        read_table(path)


def test_a_step_is_the_sum_of_its_products():
    assert TABLE.predict(USES, {'a': FOUR, 'b': FULL}) == 6 * 0.5 + 10.0
    with pytest.raises(BenchError, match='9 rows with 64x64'):
        TABLE.predict(USES, {'a': FOUR, 'b': Form(3, 8)})


def test_what_has_no_width_is_the_rest_that_the_other_steps_have():
    steps = {name_of(FULL): 20.0, name_of(FOUR): 10.0}
    full, four = predictions(TABLE, USES, {name_of(f): f for f in (FULL, FOUR)}, steps)
    assert four['rest_ms'] == 4.0 and full['rest_ms'] == 3.0
    assert four['ms_predicted'] == 4.0 + 6 * 0.5 + 4.0
    assert four['error'] == pytest.approx(0.1) and full['error'] == pytest.approx(-0.05)
    assert four['rank_correlation'] == 1.0


def test_the_products_of_a_step_are_those_of_its_layers():
    config = config_of('tiny')
    uses = list(layer_uses(config, WORDS))
    calls = Counter()
    for use in uses:
        calls[use.layer] += use.calls
    language = [name for name in calls if name.startswith('language_model')]
    assert {calls[name] for name in language} == {7}
    assert {calls[name] for name in calls if name not in language} == {1}
    by_layer = {use.layer: use.operation for use in uses if use.operation.rows > 1}
    first = 'language_model.model.layers.0.self_attn.q_proj'
    last = f'language_model.model.layers.{config.text["num_hidden_layers"] - 1}.self_attn.'
    assert by_layer[f'{last}k_proj'].rows == by_layer[first].rows > WORDS
    assert f'{last}q_proj' not in by_layer
    longer = {u.layer: u.operation for u in layer_uses(config, WORDS + 5) if u.operation.rows > 1}
    assert longer[first].rows == by_layer[first].rows + 5


def test_a_parallel_step_multiplies_every_layer_once():
    config = config_of('tiny-oft')
    uses = {use.layer: use for use in layer_uses(config, WORDS)}
    plain = {u.layer: u for u in layer_uses(config_of('tiny'), WORDS) if u.operation.rows > 1}
    assert all(use.calls == 1 for use in uses.values())
    first = 'language_model.model.layers.0.self_attn.q_proj'
    last = f'language_model.model.layers.{config.text["num_hidden_layers"] - 1}.self_attn.'
    fed = plain[first].operation.rows + 7 * config.chunk + 1
    assert uses[first].operation.rows == uses[f'{last}k_proj'].operation.rows == fed
    assert uses[f'{last}q_proj'].operation.rows == 7 * config.chunk


@pytest.mark.skipif(library() is None, reason='the engine is not built')
def test_every_product_is_measured_in_every_form(monkeypatch):
    monkeypatch.setattr(device_table, '_ROUNDS', 2)
    monkeypatch.setattr(turns, 'Sentinel', lambda threads: Calm())
    table = measure_table(USES, {})
    assert set(table.costs) == {(o, f) for o in (SMALL, LARGE) for f in forms()}
    assert all(cost.ms >= 0.0 for cost in table.costs.values())
    assert table.costs[SMALL, FULL].bytes == 2 * 64 * 32


class Calm:
    """A sentinel whom nothing disturbs."""

    def quiet(self):
        return True
