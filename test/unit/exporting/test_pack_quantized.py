# SPDX-License-Identifier: Apache-2.0
import dataclasses

import compressed_tensors
import pytest
import torch
from sqil_training.exporting.pack_quantized import (
    FORMAT,
    layer_tensors,
    layer_weights,
    quantization_config,
    refusal,
)

from sqil_ros.errors import ProfileError
from sqil_ros.quant.activations import InputRule
from sqil_ros.quant.manifest import LayerGroup, Profile
from sqil_ros.quant.primitives import Grid, dequantize, quantize

GRIDS = [
    *(Grid(bits) for bits in range(2, 9)),
    Grid(4, group_size=8),
    Grid(4, symmetric=False),
    Grid(3, group_size=8, symmetric=False),
    Grid(8, group_size=24, symmetric=False),
]
NAMES = [f'{g.bits} bits, groups of {g.group_size}, {g.symmetric}' for g in GRIDS]


def group_of(grid, layers=('a.b',)):
    return LayerGroup('some', grid.bits, tuple(layers), grid.group_size, grid.symmetric)


def weights_on(grid, rows=13, columns=24):
    chance = torch.Generator().manual_seed(grid.bits)
    return quantize(torch.randn(rows, columns, generator=chance), grid)


def named(weights):
    return {f'a.b.{part}': tensor for part, tensor in layer_tensors(weights).items()}


@pytest.mark.parametrize('grid', GRIDS, ids=NAMES)
def test_layers_round_trip_in_as_few_words_as_they_need(grid):
    weights = weights_on(grid)
    tensors = named(weights)
    assert tensors['a.b.weight_packed'].dtype == torch.int32
    assert tensors['a.b.weight_packed'].shape == (13, -(-24 * grid.bits // 32))
    found = layer_weights('a.b', group_of(grid), tensors)
    assert torch.equal(found.codes, weights.codes)
    assert torch.equal(dequantize(found), dequantize(weights))


@pytest.mark.parametrize('grid', GRIDS, ids=NAMES)
def test_the_library_unpacks_exactly_our_weights(grid):
    weights = weights_on(grid)
    content = quantization_config([group_of(grid)], ['kept'])
    config = compressed_tensors.quantization.QuantizationConfig.model_validate(content)
    compressor = compressed_tensors.compressors.BaseCompressor.get_value_from_registry(
        config.format
    )
    scheme = config.config_groups['group_0']
    assert compressor.can_compress(torch.nn.Linear, scheme)
    assert set(compressor.compression_param_names(scheme)) == set(layer_tensors(weights))
    found = compressor.decompress(layer_tensors(weights), scheme)['weight']
    assert found.dtype == torch.float32
    assert torch.equal(found, dequantize(weights))


def test_layers_on_one_grid_become_one_group():
    fine = Grid(4, group_size=8)
    groups = [
        group_of(Grid(4), ['a', 'b']),
        group_of(fine, ['c']),
        group_of(Grid(4), ['d']),
    ]
    config = quantization_config(groups, ['head'])
    assert [group['targets'] for group in config['config_groups'].values()] == [
        ['a', 'b', 'd'],
        ['c'],
    ]
    weights = [group['weights'] for group in config['config_groups'].values()]
    assert [(w['strategy'], w['group_size']) for w in weights] == [
        ('channel', None),
        ('group', 8),
    ]
    assert config['format'] == FORMAT
    assert config['ignore'] == ['head']


@pytest.mark.parametrize(
    ('spoil', 'complaint'),
    [
        (lambda t: t.pop('a.b.weight_scale'), "['weight_scale'] of layer a.b are missing"),
        (lambda t: t.update({'a.b.weight_shape': torch.tensor([12, 24])}), 'its shape says 12'),
        (lambda t: t.update({'a.b.weight_shape': torch.tensor([13, 99])}), 'write the profile'),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(spoil, complaint):
    tensors = named(weights_on(Grid(4)))
    spoil(tensors)
    with pytest.raises(ProfileError) as error:
        layer_weights('a.b', group_of(Grid(4)), tensors)
    assert complaint in str(error.value)


def test_rounded_activations_are_refused_because_other_numbers_would_come_out():
    profile = Profile(
        'int4_rtn', 'rtn', (group_of(Grid(4)),), 'bfloat16', 'auto', 'a' * 64, 'b' * 16, {}
    )
    assert refusal(profile) == ''
    group = dataclasses.replace(group_of(Grid(4)), inputs=InputRule(8))
    reason = refusal(dataclasses.replace(profile, groups=(group,)))
    assert '/ 127,' in reason
    assert '127.5' in reason
    assert '--activation-bits' in reason
