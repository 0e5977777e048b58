# SPDX-License-Identifier: Apache-2.0
"""AWQ, GPTQ and SmoothQuant on one layer: what holds for every weight and every input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sqil_training.ptq.awq import best_scale, candidate_scale, clipped_steps, round_clipped
from sqil_training.ptq.gptq import round_with_feedback
from sqil_training.ptq.method import Options, Rounding
from sqil_training.ptq.rows import better_rows
from sqil_training.ptq.smoothquant import smoothing_scale
from sqil_training.ptq.statistics import InputStatistics, output_errors, statistics_of
from torch import Tensor

from sqil_ros.errors import CalibrationError
from sqil_ros.quant.primitives import (
    WHOLE_ROW,
    Grid,
    Quantized,
    dequantize,
    quantize,
    round_onto,
)

patient = settings(deadline=None, max_examples=15)  # a busy machine is no failure


@st.composite
def layers(draw: st.DrawFn) -> tuple[Tensor, Tensor, Grid]:
    """A weight, inputs with correlated channels of unlike size, and a grid."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    out, size, groups = draw(st.integers(1, 12)), draw(st.integers(1, 12)), draw(st.integers(1, 4))
    width, rows = size * groups, draw(st.integers(1, 60))
    weight = torch.randn(out, width, generator=generator) + draw(st.sampled_from([0.0, 1.0]))
    mix = torch.randn(width, width, generator=generator)
    x = torch.randn(rows, width, generator=generator) @ mix
    x = x * torch.exp(2 * torch.randn(width, generator=generator))
    group_size = draw(st.sampled_from([WHOLE_ROW, size]))
    return weight, x, Grid(draw(st.sampled_from([2, 3, 4, 8])), group_size, draw(st.booleans()))


def output_error(difference: Tensor, x: Tensor) -> float:
    return float((x.double() @ difference.double().t()).square().mean(0).sum())


def error(weight: Tensor, quantized: Quantized, x: Tensor) -> float:
    return output_error(weight - dequantize(quantized), x)


def assert_not_worse(found: float, bound: float) -> None:
    assert found <= bound * (1 + 1e-3) + 1e-9  # the searches add up in float32


@patient
@given(layers())
def test_the_gram_matrix_says_what_the_inputs_say(case: tuple[Tensor, Tensor, Grid]) -> None:
    weight, x, grid = case
    quantized = quantize(weight, grid)
    found = float(output_errors(weight, quantized, statistics_of(x)).sum())
    assert found == pytest.approx(error(weight, quantized, x), rel=1e-2, abs=1e-6)


@patient
@given(layers())
def test_a_ratio_of_zero_is_rtn_so_the_search_is_never_worse(
    case: tuple[Tensor, Tensor, Grid],
) -> None:
    weight, x, grid = case
    inputs = statistics_of(x)
    assert torch.equal(candidate_scale(inputs, 0.0), torch.ones(x.shape[1]))
    scale = best_scale([weight], inputs, grid)
    scaled = dequantize(quantize(weight * scale, grid)) / scale
    assert_not_worse(output_error(weight - scaled, x), error(weight, quantize(weight, grid), x))


@patient
@given(layers())
def test_clipping_is_never_worse_than_rtn(case: tuple[Tensor, Tensor, Grid]) -> None:
    weight, x, grid = case
    nearest = quantize(weight, grid)
    clipped = round_clipped('fc1', weight, statistics_of(x), Options(grid))
    assert clipped.grid == nearest.grid
    assert_not_worse(error(weight, clipped, x), error(weight, nearest, x))


def test_queries_and_keys_are_not_clipped() -> None:
    weight = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    inputs = statistics_of(torch.randn(50, 16, generator=torch.Generator().manual_seed(1)))
    grid = Grid(2)
    kept = round_clipped('layers.0.self_attn.q_proj', weight, inputs, Options(grid))
    assert torch.equal(kept.scale, quantize(weight, grid).scale)
    assert bool((clipped_steps(weight, inputs, grid).scale < kept.scale).any())


@patient
@given(layers())
def test_gptq_is_never_worse_than_rtn(case: tuple[Tensor, Tensor, Grid]) -> None:
    weight, x, grid = case
    nearest = quantize(weight, grid)
    found = round_with_feedback('fc1', weight, statistics_of(x), Options(grid))
    assert torch.equal(found.scale, nearest.scale)
    assert_not_worse(error(weight, found, x), error(weight, nearest, x))


def test_gptq_gains_where_channels_are_correlated() -> None:
    """On average over rows by much, not only by the rows that fall back."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 200, generator=generator)  # more than one lazy block
    x = torch.randn(1000, 8, generator=generator) @ torch.randn(8, 200, generator=generator)
    x = x + 0.1 * torch.randn(1000, 200, generator=generator)
    nearest = quantize(weight, 3)
    found = round_with_feedback('fc1', weight, statistics_of(x), Options(Grid(3)))
    assert error(weight, found, x) < 0.3 * error(weight, nearest, x)


@patient
@given(layers())
def test_gptq_without_correlation_is_rtn(case: tuple[Tensor, Tensor, Grid]) -> None:
    weight, x, grid = case
    width = x.shape[1]
    inputs = InputStatistics(torch.eye(width), torch.ones(width), torch.ones(width), width)
    found = round_with_feedback('fc1', weight, inputs, Options(grid))
    assert torch.equal(found.codes, quantize(weight, grid).codes)


@pytest.mark.parametrize('rounding', [round_with_feedback, round_clipped])
def test_inputs_of_zeros_leave_rtn(rounding: Rounding) -> None:
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    nothing = statistics_of(torch.zeros(5, 6))
    found = rounding('fc1', weight, nothing, Options(Grid(4)))
    assert torch.equal(found.codes, quantize(weight, 4).codes)
    assert torch.equal(best_scale([weight], nothing, Grid(4)), torch.ones(6))


@patient
@given(layers())
def test_of_two_roundings_every_row_takes_the_better(case: tuple[Tensor, Tensor, Grid]) -> None:
    weight, x, grid = case
    inputs, nearest = statistics_of(x), quantize(weight, grid)
    shrunk = nearest.steps._replace(scale=nearest.scale * 0.8)
    other = round_onto(weight, shrunk, grid.bits)
    best = better_rows(weight, inputs, nearest, other)
    rows = torch.minimum(
        output_errors(weight, nearest, inputs), output_errors(weight, other, inputs)
    )
    torch.testing.assert_close(output_errors(weight, best, inputs), rows)


def test_the_formula_of_smoothquant() -> None:
    peak = torch.tensor([4.0, 1.0, 0.0])
    weights = [torch.tensor([[1.0, -9.0, 2.0]]), torch.tensor([[-0.25, 1.0, 5.0]])]
    scale = smoothing_scale(peak, weights, 0.5)
    assert scale.tolist() == pytest.approx([2.0, 1 / 3, 1.0])
    assert smoothing_scale(peak, weights, 1.0).tolist() == pytest.approx([4.0, 1.0, 1.0])
    assert smoothing_scale(peak, weights, 0.0).tolist() == pytest.approx([1.0, 1 / 9, 1.0])


@patient
@given(layers())
def test_smoothing_by_half_balances_inputs_and_weights(case: tuple[Tensor, Tensor, Grid]) -> None:
    weight, x, _ = case
    scale = smoothing_scale(x.abs().amax(0), [weight], 0.5)
    torch.testing.assert_close((x / scale).abs().amax(0), (weight * scale).abs().amax(0))


def test_inputs_that_are_not_finite_are_refused() -> None:
    x = torch.ones(3, 4)
    x[1, 2] = float('nan')
    with pytest.raises(CalibrationError, match='1 of its 4 input channels are not finite'):
        statistics_of(x)
    with pytest.raises(CalibrationError, match='saw no input'):
        statistics_of(torch.ones(0, 4))
