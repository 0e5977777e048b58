# SPDX-License-Identifier: Apache-2.0
"""The device tables that come with the package."""

from __future__ import annotations

import pytest

from sqil_ros.bench.device_table import Form, read_table
from sqil_ros.bench.operations import layer_uses
from sqil_ros.bench.steps import WORDS, config_of
from sqil_ros.share import share_directory

TABLES = sorted((share_directory() / 'config' / 'devices').glob('*.yaml'))


@pytest.mark.parametrize('path', TABLES, ids=lambda path: path.stem)
def test_a_table_knows_every_product_of_its_model(path):
    table = read_table(path)
    uses = list(layer_uses(config_of(table.device['model']), WORDS))
    full = table.predict(uses, {use.layer: Form(16, 16) for use in uses})
    low = table.predict(uses, {use.layer: Form(4, 8) for use in uses})
    assert 0.0 < low < full


def test_there_is_one():
    assert TABLES
