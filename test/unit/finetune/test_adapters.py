# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from sqil_training.finetune.adapters import (
    MergedLinear,
    Rounding,
    add_beside,
    add_merged,
    beside,
    closest_steps,
    merged,
)
from torch import nn

from sqil_ros.quant.activations import Inputs, round_activations
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.primitives import Steps, dequantize, quantize, relative_error, round_onto


@pytest.fixture
def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 6, bias=False))


def packed(network, bits=3):
    for name in ('0', '2'):
        layer = PackedLinear.from_linear(network.get_submodule(name), bits, 'reference')
        setattr(network, name, layer)
    return network


def updated(network, x):
    learned = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, 0.05)
    for _ in range(3):
        network(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return learned


def test_beside_starts_as_its_profile_and_changes_no_integer(network):
    packed(network)
    x = torch.randn(5, 12)
    before, codes = network(x), network[0].quantized.codes.clone()
    add_beside(network, rank=4, alpha=2.0)
    torch.testing.assert_close(network(x), before)
    learned = updated(network, x)
    assert {p.shape for p in learned} == {(4, 12), (10, 4), (4, 10), (6, 4)}
    assert not torch.allclose(network(x), before)
    layers = dict(beside(network))
    assert set(layers) == {'0', '2'}
    assert torch.equal(layers['0'].base_layer.quantized.codes, codes)


def test_merged_starts_no_farther_than_round_to_nearest_and_stays_on_its_grid(network):
    weight = network[0].weight.detach().clone()
    add_merged(network, {'0': Rounding(3), '2': Rounding(4)}, rank=4, alpha=2.0)
    layer = dict(merged(network))['0']
    first = layer.quantized
    assert relative_error(weight, first) < relative_error(weight, quantize(weight, 3))
    x = torch.randn(5, 12)
    learned = updated(network, x)
    assert len(learned) == 6 and torch.equal(network[0].weight, weight)
    integers = layer.quantized
    assert not torch.equal(integers.codes, first.codes)
    assert not torch.equal(integers.scale, first.scale) and bool((integers.scale > 0).all())
    torch.testing.assert_close(
        layer(x), nn.functional.linear(x, dequantize(integers), network[0].bias)
    )


@pytest.mark.parametrize('bits', [2, 3, 4])
def test_the_closest_steps_round_every_row_best_of_all_that_are_tried(bits):
    torch.manual_seed(bits)
    weight = torch.randn(9, 40) * torch.logspace(-2, 2, 9)[:, None]
    steps = closest_steps(weight, bits)

    def error(factor):
        rounded = dequantize(round_onto(weight, Steps(factor * steps), bits))
        return (rounded - weight).square().sum(1)

    for factor in (0.9, 1.1):
        assert bool((error(factor) > error(1.0) * 0.97).all())


def test_a_row_of_zeros_has_a_step():
    assert bool((closest_steps(torch.zeros(2, 4), 3) > 0).all())


def test_the_gradient_of_a_merged_layer_is_that_of_the_weight_it_stands_for(network):
    layer = MergedLinear(network[0], Rounding(3), rank=12, alpha=12.0)
    x = torch.randn(5, 12)
    layer(x).square().sum().backward()
    output = layer(x).detach()
    straight = 2.0 * output.T @ x
    # What is clipped learns nothing.
    ratio = layer.weight / layer.first_steps[:, None]
    straight = straight * ((ratio > -4) & (ratio < 3))
    torch.testing.assert_close(layer.up.grad, straight @ layer.down.detach().T)


@pytest.mark.parametrize('step', [None, 0.25])
def test_merged_layers_round_what_they_see(network, step):
    static = None if step is None else torch.tensor(step)
    add_merged(network, {'0': Rounding(8, Inputs(4, static))}, 4, 2.0)
    layer = network[0]
    x = torch.randn(5, 12)
    seen = round_activations(x, 4, static)
    expected = nn.functional.linear(seen, dequantize(layer.quantized), layer.bias)
    torch.testing.assert_close(layer(x), expected)
    assert (layer.input_step is None) == (step is None)
    updated(network, x)
    if step is not None:
        assert float(layer.input_step.detach()) != step
        seen = round_activations(x, 4, layer.input_step.detach())
        expected = nn.functional.linear(seen, dequantize(layer.quantized), layer.bias)
        torch.testing.assert_close(layer(x), expected)


def test_codes_in_bfloat16_training_are_those_deployed():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64, bias=False))
    add_merged(network, {'0': Rounding(2)}, rank=8, alpha=8.0)
    layer = dict(merged(network))['0']
    with torch.no_grad():
        layer.up.normal_()
    with torch.autocast('cpu', torch.bfloat16):
        columns = layer(torch.eye(64))
    assert torch.equal(columns.T, dequantize(layer.quantized).bfloat16())
