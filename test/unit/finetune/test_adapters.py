# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from sqil_training.finetune.adapters import MergedLinear, add_beside, add_merged, beside, merged
from torch import nn

from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.primitives import dequantize, quantize


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


def test_merged_starts_as_round_to_nearest_and_stays_on_the_grid(network):
    weight = network[0].weight.detach().clone()
    add_merged(network, {'0': 3, '2': 4}, rank=4, alpha=2.0)
    layers = dict(merged(network))
    x = torch.randn(5, 12)
    nearest = quantize(weight, 3)
    expected = nn.functional.linear(x, dequantize(nearest), network[0].bias)
    torch.testing.assert_close(layers['0'](x), expected)
    learned = updated(network, x)
    assert len(learned) == 4 and torch.equal(network[0].weight, weight)
    integers = layers['0'].quantized
    assert not torch.equal(integers.codes, nearest.codes)
    torch.testing.assert_close(
        layers['0'](x), nn.functional.linear(x, dequantize(integers), network[0].bias)
    )


def test_the_gradient_of_a_merged_layer_is_that_of_the_weight_it_stands_for(network):
    layer = MergedLinear(network[0], bits=3, rank=12, alpha=12.0)
    x = torch.randn(5, 12)
    layer(x).square().sum().backward()
    output = layer(x).detach()
    straight = 2.0 * output.T @ x
    torch.testing.assert_close(layer.up.grad, straight @ layer.down.detach().T)
