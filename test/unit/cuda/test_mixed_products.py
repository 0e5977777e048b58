# SPDX-License-Identifier: Apache-2.0
"""Rows of widths of their own on the GPU: one launch for few inputs, one a width for many."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import linear

from sqil_ros.quant.activations import Inputs, round_activations
from sqil_ros.quant.mixed_linear import MixedLinear
from sqil_ros.quant.mixed_rows import ROW_WIDTHS, dequantize_rows, quantize_rows
from sqil_ros.quant.primitives import WHOLE_ROW
from sqil_ros.quant.triton_kernels.layout import WIDTHS

TOLERANCE = 5e-6


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    st.lists(st.sampled_from(ROW_WIDTHS), min_size=1, max_size=30),
    st.integers(1, 6),
    st.sampled_from([1, 2, 9]),
    st.sampled_from([None, 4, 8]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_bands_answer_in_the_places_of_their_rows(
    device: torch.device, widths: list[int], blocks: int, count: int, input_bits: int | None,
    symmetric: bool, grouped: bool, seed: int,
) -> None:  # fmt: skip
    widths = [*widths, WIDTHS[seed % 4]]  # without packed rows nothing asks for these kernels
    inputs = 32 * blocks if grouped else 32 * blocks + seed % 32
    rows = quantize_rows(
        random(len(widths), inputs, seed=seed) + 0.2, torch.tensor(widths),
        32 if grouped else WHOLE_ROW, symmetric,
    )  # fmt: skip
    bias = random(len(widths), seed=seed + 2) if seed % 3 else None
    asked = None if input_bits is None else Inputs(input_bits)
    mixed = MixedLinear(rows, bias, 'cuda', asked).to(device)
    x = random(count, inputs, seed=seed + 1)
    seen = x if input_bits is None else round_activations(x, input_bits)
    weight = dequantize_rows(rows)
    bound = linear(seen.abs(), weight.abs() + 0.5, None if bias is None else bias.abs()) + 1e-6
    error = (mixed(x.to(device)).cpu() - linear(seen, weight, bias)).abs()
    assert bool((error <= TOLERANCE * bound).all())


def test_more_rows_than_a_tile_of_every_width(device: torch.device) -> None:
    rows = quantize_rows(random(306, 64, seed=0), torch.tensor([0, *ROW_WIDTHS] * 43 + [0] * 5))
    x = random(1, 64, seed=1)
    found = MixedLinear(rows, None, 'cuda').to(device)(x.to(device))
    assert torch.allclose(found.cpu(), linear(x, dequantize_rows(rows)), atol=1e-4)


def test_a_layer_that_moves_is_laid_out_anew(device: torch.device) -> None:
    mixed = MixedLinear(
        quantize_rows(random(6, 40, seed=0), torch.tensor(ROW_WIDTHS)), None, 'cuda'
    )
    x = random(1, 40, seed=1)
    before = mixed.to(device)(x.to(device))
    state = MixedLinear(
        quantize_rows(random(6, 40, seed=5), torch.tensor(ROW_WIDTHS))
    ).state_dict()
    mixed.load_state_dict(state)
    after = mixed(x.to(device))
    assert not torch.allclose(before, after)
    assert torch.allclose(after.cpu(), linear(x, mixed.weight.cpu()), atol=1e-4)


@pytest.mark.parametrize('count', [1, 9])
def test_infinities_arrive(device: torch.device, count: int) -> None:
    mixed = MixedLinear(
        quantize_rows(random(5, 40, seed=0), torch.tensor([2, 3, 4, 8, 16])), None, 'cuda'
    )
    y = mixed.to(device)(torch.full((count, 40), float('inf'), device=device))
    assert not bool(torch.isfinite(y).any())
