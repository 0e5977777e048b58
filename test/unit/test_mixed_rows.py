# SPDX-License-Identifier: Apache-2.0
"""Rows with widths of their own: the round trip, the layer, what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sqil_ros.errors import ParameterError, ProfileError
from sqil_ros.quant.mixed_linear import MixedLinear
from sqil_ros.quant.mixed_rows import MixedRows, dequantize_rows, quantize_rows
from sqil_ros.quant.primitives import Grid, fake_quantize
from sqil_ros.quant.size import model_bytes

WIDTHS = torch.tensor([4, 0, 16, 2, 8, 4, 16, 2, 3, 4])


def weight(rows: int = 10, columns: int = 64) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


def test_every_row_is_what_its_width_makes_of_it() -> None:
    dense = weight()
    found = dequantize_rows(quantize_rows(dense, WIDTHS))
    for row, bits in enumerate(WIDTHS.tolist()):
        alone = dense[row : row + 1]
        expected = {0: torch.zeros_like(alone), 16: alone.bfloat16().float()}.get(bits)
        expected = fake_quantize(alone, bits) if expected is None else expected
        assert torch.equal(found[row : row + 1], expected)


def test_groups_and_zero_points() -> None:
    dense = weight() + 0.5
    found = dequantize_rows(quantize_rows(dense, WIDTHS, 32, symmetric=False))
    assert torch.equal(found[WIDTHS == 4], fake_quantize(dense[WIDTHS == 4], Grid(4, 32, False)))


@pytest.mark.parametrize('back_end', ['auto', 'reference'])
def test_a_layer_gives_its_rows_back_and_multiplies_with_them(back_end: str) -> None:
    rows, x = quantize_rows(weight(), WIDTHS), torch.randn(3, 5, 64)
    layer = MixedLinear(rows, torch.arange(10.0), back_end)
    assert torch.equal(layer.weight, dequantize_rows(rows))
    assert torch.allclose(layer(x), linear(x, layer.weight, layer.bias), atol=1e-5)


def test_gradients_reach_the_inputs() -> None:
    layer = MixedLinear(quantize_rows(weight(), WIDTHS))
    x = torch.randn(2, 64, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, layer.weight.sum(0).expand(2, -1), atol=1e-5)


def test_memory_is_what_the_widths_say() -> None:
    bits = torch.tensor([2] * 16 + [4] * 16 + [8] * 16 + [16] * 16 + [0] * 16)
    layer = nn.Sequential(MixedLinear(quantize_rows(weight(80, 64), bits)))
    scales, widths = 3 * 16 * 4, len(bits)
    assert model_bytes(layer).total == int(bits.sum()) * 64 // 8 + scales + widths


def test_a_cast_or_copied_model_keeps_its_rows() -> None:
    layer = MixedLinear(quantize_rows(weight(), WIDTHS))
    expected = layer.weight
    for other in (copy.deepcopy(layer), layer.to(torch.float64), layer.to(torch.bfloat16)):
        assert torch.equal(other.weight, expected)


def test_the_state_of_a_layer_loads_into_another() -> None:
    one, other = (MixedLinear(quantize_rows(weight() * s, WIDTHS)) for s in (1.0, 2.0))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.weight, one.weight)


def test_what_is_no_width_is_refused() -> None:
    with pytest.raises(ParameterError, match=r'\[4, 5\]'):
        quantize_rows(weight(2), torch.tensor([4, 5]))
    with pytest.raises(ParameterError, match='3 widths for 2 rows'):
        quantize_rows(weight(2), torch.tensor([4, 4, 4]))


def test_parts_that_do_not_belong_together_are_refused() -> None:
    rows = quantize_rows(weight(), WIDTHS)
    with pytest.raises(ProfileError, match='bias'):
        MixedLinear(rows, torch.zeros(3))
    with pytest.raises(ProfileError, match='4 bits'):
        MixedLinear(MixedRows(rows.row_bits, 64, {**rows.bands, 4: rows.bands[2]}, rows.kept))
    with pytest.raises(ProfileError, match='16 bits'):
        MixedLinear(MixedRows(rows.row_bits, 64, rows.bands, None))
