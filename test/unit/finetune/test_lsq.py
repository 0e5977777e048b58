# SPDX-License-Identifier: Apache-2.0
"""Learned steps against the formulas of the LSQ paper."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sqil_training.finetune.lsq import (
    SMALLEST_STEP,
    LearnedStep,
    LsqLinear,
    code_span,
    gradient_scale,
    initial_step,
    round_learned,
)
from torch import nn

from sqil_ros.errors import CalibrationError, ParameterError

SEEDS = st.integers(0, 9999)
WIDTHS = st.integers(2, 8)
SPANS = st.tuples(WIDTHS, st.booleans()).map(lambda made: code_span(*made))


def values_of(seed, count=200):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def step_of(seed):
    return torch.tensor(0.02 + 0.5 * (seed % 7), dtype=torch.float64)


def gradients(values, step, span, scale=1.0, above=None):
    """Of sum(above * v_hat) to values and step."""
    values, step = values.clone().requires_grad_(), step.clone().requires_grad_()
    found = round_learned(values, step, *span, scale)
    (found if above is None else above * found).sum().backward()
    return values.grad, step.grad


@pytest.mark.parametrize(
    'bits, signed, span',
    [(4, True, (-8, 7)), (4, False, (0, 15)), (2, True, (-2, 1)), (8, False, (0, 255))],
)
def test_codes_of_a_width(bits, signed, span):
    assert code_span(bits, signed) == span


@settings(deadline=None)
@given(SEEDS, SPANS)
def test_values_become_multiples_of_the_step_within_the_codes(seed, span):
    step = step_of(seed)
    codes = round_learned(values_of(seed), step, *span) / step
    torch.testing.assert_close(codes, codes.round())
    assert codes.round().min() >= span[0] and codes.round().max() <= span[1]


@settings(deadline=None)
@given(SEEDS, SPANS)
def test_rounding_twice_is_rounding_once(seed, span):
    once = round_learned(values_of(seed), step_of(seed), *span)
    assert torch.equal(round_learned(once, step_of(seed), *span), once)


@settings(deadline=None)
@given(SEEDS, SPANS)
def test_the_error_is_half_a_step_where_nothing_clips(seed, span):
    values, step = values_of(seed), step_of(seed)
    inside = (values / step > span[0]) & (values / step < span[1])
    error = (round_learned(values, step, *span) - values).abs()[inside]
    assert bool((error <= 0.5 * step + 1e-12).all())


@settings(deadline=None)
@given(SEEDS, SPANS, st.floats(0.01, 2.0))
def test_gradients_are_those_of_equations_3_and_5(seed, span, scale):
    values, step, above = values_of(seed), step_of(seed), values_of(seed + 1)
    to_values, to_step = gradients(values, step, span, scale, above)
    slope, passed = [], []
    for value in (values / step).tolist():
        if value <= span[0]:
            slope.append(span[0]), passed.append(0.0)
        elif value >= span[1]:
            slope.append(span[1]), passed.append(0.0)
        else:
            slope.append(round(value) - value), passed.append(1.0)
    torch.testing.assert_close(to_values, above * torch.tensor(passed, dtype=torch.float64))
    wanted = scale * (above * torch.tensor(slope, dtype=torch.float64)).sum()
    torch.testing.assert_close(to_step, wanted)


@settings(deadline=None)
@given(SEEDS, SPANS)
def test_the_step_has_the_true_slope_where_everything_clips(seed, span):
    """There v_hat is a constant code times the step: finite differences see it, too."""
    values, step = 100.0 * (values_of(seed).abs() + 1.0), torch.tensor(0.1, dtype=torch.float64)
    found, change = gradients(values, step, span)[1], 1e-6
    above, below = (
        round_learned(values, step + sign * change, *span).sum() for sign in (1.0, -1.0)
    )
    torch.testing.assert_close(found, (above - below) / (2.0 * change), rtol=1e-6, atol=1e-6)


def test_the_gradient_of_a_tensor_in_its_own_dtype():
    values = values_of(0).float().requires_grad_()
    step = torch.tensor(0.1, requires_grad=True)
    round_learned(values, step, -8, 7).sum().backward()
    assert values.grad is not None and values.grad.dtype == torch.float32
    assert step.grad is not None and step.grad.shape == ()


def test_the_first_step_and_its_gradient_scale():
    values = torch.tensor([1.0, -3.0, 2.0, 0.0])
    assert initial_step(values, 7).item() == pytest.approx(2.0 * 1.5 / math.sqrt(7.0))
    assert gradient_scale(64, 7) == 1.0 / math.sqrt(64 * 7)


def test_values_that_are_all_zero_keep_a_usable_step():
    assert initial_step(torch.zeros(3), 7) == 1.0


@pytest.mark.parametrize('values', [torch.empty(0), torch.tensor([1.0, float('nan')])])
def test_a_step_is_not_found_from_nothing_or_nan(values):
    with pytest.raises(CalibrationError, match='not finite'):
        initial_step(values, 7)


def test_a_step_that_learning_drives_below_zero_stays_positive():
    grid = LearnedStep(torch.ones(3), 4, True, 3)
    with torch.no_grad():
        grid.step.fill_(-1.0)
    found = grid(torch.ones(3))
    torch.testing.assert_close(found, torch.full((3,), 7.0 * SMALLEST_STEP))


def layer_and_inputs(signed):
    chance = torch.Generator().manual_seed(3)
    layer = nn.Linear(6, 4)
    with torch.no_grad():
        layer.weight.normal_(generator=chance)
    inputs = torch.randn(50, 6, generator=chance)
    return layer, inputs if signed else inputs.relu()


@pytest.mark.parametrize('signed', [True, False])
def test_a_layer_rounds_its_weight_and_its_inputs(signed):
    layer, inputs = layer_and_inputs(signed)
    rounded = LsqLinear(layer, inputs, 4, 4)
    low, high = code_span(4, signed)
    weight = round_learned(layer.weight, initial_step(layer.weight, 7), -8, 7)
    x = round_learned(inputs, initial_step(inputs, high), low, high)
    torch.testing.assert_close(rounded(inputs), x @ weight.T + layer.bias)


def test_a_layer_scales_the_gradients_of_its_steps():
    layer, inputs = layer_and_inputs(False)
    rounded = LsqLinear(layer, inputs, 4, 4)
    rounded(inputs).sum().backward()
    weight = layer.weight.detach()
    x = round_learned(inputs, initial_step(inputs, 15), 0, 15)
    # d sum(y) / d w_hat is the sum of each input over the batch, the same for every output.
    above = x.sum(dim=0).expand(4, 6)
    ratio = weight / initial_step(weight, 7)
    slope = torch.where((ratio > -8) & (ratio < 7), ratio.round() - ratio, ratio.clamp(-8, 7))
    wanted = (above * slope).sum() / math.sqrt(weight.numel() * 7)
    torch.testing.assert_close(rounded.weight_grid.step.grad, wanted)
    assert all(parameter.grad is not None for parameter in rounded.parameters())


def test_more_bits_change_less():
    layer, inputs = layer_and_inputs(True)
    errors = [
        (LsqLinear(layer, inputs, bits, bits)(inputs) - layer(inputs)).abs().mean()
        for bits in (8, 4, 2)
    ]
    assert errors[0] < errors[1] < errors[2]


def test_the_layer_is_copied():
    layer, inputs = layer_and_inputs(True)
    before = layer.weight.detach().clone()
    with torch.no_grad():
        LsqLinear(layer, inputs, 8, 8).weight.zero_()
    assert torch.equal(layer.weight, before)


def test_learning_a_step_lowers_the_error():
    """From a step that is four times too wide, by gradients alone."""
    values = values_of(1, 4096).float()
    grid = LearnedStep(4.0 * values, 4, True, values.numel())
    optimizer = torch.optim.Adam(grid.parameters(), 0.01)
    errors = []
    for _ in range(200):
        error = (grid(values) - values).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.2 * errors[0]


def test_what_does_not_fit_is_refused():
    layer, inputs = layer_and_inputs(True)
    with pytest.raises(ParameterError, match=r'\(n, 6\)'):
        LsqLinear(layer, inputs[:, :5], 4, 4)
    with pytest.raises(ParameterError, match='2 to 8'):
        LsqLinear(layer, inputs, 1, 4)


def test_every_row_may_have_a_step_of_its_own():
    values = values_of(3).reshape(4, -1)
    steps = torch.tensor([0.1, 0.2, 0.4, 0.8])[:, None].requires_grad_()
    together = round_learned(values, steps, -4, 3)
    together.square().sum().backward()
    for row, step, gradient in zip(values, steps.detach(), steps.grad, strict=True):
        alone = step.squeeze().clone().requires_grad_()
        found = round_learned(row, alone, -4, 3)
        found.square().sum().backward()
        assert torch.equal(found, together[values.eq(row).all(1).nonzero().squeeze()])
        torch.testing.assert_close(alone.grad, gradient.squeeze())
