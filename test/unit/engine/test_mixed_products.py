# SPDX-License-Identifier: Apache-2.0
"""Layers whose rows have widths of their own: the engine's chain of bands against torch."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import linear

from sqil_ros.quant.activations import Inputs, round_activations
from sqil_ros.quant.mixed_linear import MixedLinear
from sqil_ros.quant.mixed_rows import ROW_WIDTHS, dequantize_rows, quantize_rows

TOLERANCE = 1e-6
patient = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@patient
@given(
    st.lists(st.sampled_from(ROW_WIDTHS), min_size=1, max_size=120),
    st.integers(1, 260),
    st.sampled_from([1, 2, 3, 70]),
    st.sampled_from([None, 4, 8]),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_bands_answer_in_the_places_of_their_rows(
    each_level: str,
    widths: list[int],
    in_features: int,
    count: int,
    input_bits: int | None,
    bias: bool,
    seed: int,
) -> None:
    torch.set_num_threads(1 + seed % 2)
    rows = quantize_rows(random(len(widths), in_features, seed=seed), torch.tensor(widths))
    offset = random(len(widths), seed=seed + 2) if bias else None
    mixed = MixedLinear(rows, offset, inputs=None if input_bits is None else Inputs(input_bits))
    assert mixed.chain() is not None
    x = random(count, in_features, seed=seed + 1)
    seen = x if input_bits is None else round_activations(x, input_bits)
    weight = dequantize_rows(rows)
    bound = linear(seen.abs(), weight.abs(), None if offset is None else offset.abs())
    error = (mixed(x) - linear(seen, weight, offset)).abs()
    assert bool((error <= TOLERANCE * bound).all())


def test_more_rows_than_wait_at_a_time(each_level: str) -> None:
    """Outputs are put in their places by so many rows; longer inputs take several rounds."""
    rows = quantize_rows(random(40, 64, seed=0), torch.tensor([0, 2, 4, 8, 16] * 8))
    x = random(1200, 64, seed=1)
    expected = linear(x, dequantize_rows(rows))
    assert torch.allclose(MixedLinear(rows)(x), expected, atol=1e-4)
