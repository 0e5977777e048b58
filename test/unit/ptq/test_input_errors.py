# SPDX-License-Identifier: Apache-2.0
"""What rounding the inputs of each layer does: measured one by one, and undone."""

from __future__ import annotations

import json

import pytest
from sqil_training.input_errors import ALL, PROMPTS, main
from sqil_training.quantize import main as quantize

from sqil_ros.contract import Contract
from sqil_ros.policy.loader import load_policy
from sqil_ros.quant.size import packed_layers


@pytest.fixture
def profile(checkpoint, tree):
    assert quantize(['--checkpoint', str(checkpoint), '--bits', '4']) == 0
    return checkpoint, tree


def measured(checkpoint, tree, path, *words):
    arguments = ['--checkpoint', checkpoint, '--held', tree, '--frames', '4', '--json', path]
    assert main([*map(str, arguments), *words]) == 0
    return json.loads(path.read_text())


def test_every_layer_gets_a_row_and_fewer_bits_hurt_more(profile, tmp_path):
    checkpoint, tree = profile
    eight = measured(checkpoint, tree, tmp_path / '8.json')
    four = measured(checkpoint, tree, tmp_path / '4.json', '--bits', '4')
    layers = packed_layers(load_policy(checkpoint, 'int4_rtn', Contract.load()).model)
    assert [row['layer'] for row in eight['layers']] == [*layers, ALL, PROMPTS]
    distance = [{row['layer']: row['distance'] for row in f['layers']} for f in (eight, four)]
    assert 0.0 < distance[0][ALL] < distance[1][ALL]
    assert max(distance[0][name] for name in layers) < distance[0][ALL] * len(layers)
    assert eight['frames'] == 4 and eight['provenance']['command']


def test_a_profile_that_rounds_already_is_refused(checkpoint, tree, capsys):
    words = ['--checkpoint', str(checkpoint), '--bits', '4', '--activation-bits', '8']
    assert quantize(words) == 0
    words = ['--checkpoint', str(checkpoint), '--held', str(tree), '--frames', '4']
    assert main([*words, '--profile', 'int4_rtn_a8']) == 1
    assert 'round their inputs already' in capsys.readouterr().err
