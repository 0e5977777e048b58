# SPDX-License-Identifier: Apache-2.0
"""Activations on a grid: per token and per tensor, by the straight definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sqil_ros.errors import ParameterError
from sqil_ros.quant.activations import (
    ACTIVATION_WIDTHS,
    Activations,
    Inputs,
    round_activations,
    static_step,
)
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.primitives import code_range

patient = settings(deadline=None, max_examples=30)  # a busy machine is no failure
widths = st.sampled_from(ACTIVATION_WIDTHS)


@st.composite
def tokens(draw: st.DrawFn) -> Tensor:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    shape = draw(st.sampled_from([(5,), (3, 9), (2, 4, 7)]))
    return torch.randn(*shape, generator=generator) * 10.0 ** draw(st.integers(-6, 6))


@patient
@given(tokens(), widths)
def test_dynamic_steps_err_by_half_a_step_of_their_token(x: Tensor, bits: int) -> None:
    half = 0.5 * x.abs().amax(-1, keepdim=True) / code_range(bits)[1]
    rounded = round_activations(x, bits)
    assert bool(((rounded - x).abs() <= half * (1 + 1e-4)).all())
    torch.testing.assert_close(rounded.abs().amax(-1), x.abs().amax(-1))


@patient
@given(tokens(), widths)
def test_tokens_do_not_see_each_other(x: Tensor, bits: int) -> None:
    rows = x.reshape(-1, x.shape[-1])
    alone = torch.stack([round_activations(row, bits) for row in rows])
    assert torch.equal(round_activations(x, bits).reshape(rows.shape), alone)


@patient
@given(tokens(), widths)
def test_a_static_step_is_one_for_all_and_clips(x: Tensor, bits: int) -> None:
    lowest, highest = code_range(bits)
    step = torch.tensor(static_step(float(x.abs().max()) / 2, bits))
    expected = (x / step).round().clamp(lowest, highest) * step
    assert torch.equal(round_activations(x, bits, step), expected)


def test_nothing_is_lost_or_invented() -> None:
    x = torch.zeros(2, 3)
    assert torch.equal(round_activations(x, 8), x)
    assert round_activations(x.to(torch.bfloat16), 8).dtype == torch.bfloat16
    assert round_activations(torch.full((2, 3), float('nan')), 8).isnan().all()
    assert static_step(0.0, 8) == 1.0


def test_gradients_pass_straight_through() -> None:
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (round_activations(x, 4) * 3.0).sum().backward()
    assert torch.equal(x.grad, torch.full((4, 6), 3.0))


@pytest.mark.parametrize('step', [None, torch.tensor(0.02)])
def test_a_packed_layer_rounds_its_inputs(step: Tensor | None) -> None:
    dense = nn.Linear(24, 5).requires_grad_(False)
    plain = PackedLinear.from_linear(dense, 4, 'reference')
    layer = PackedLinear.from_quantized(plain.quantized, dense.bias, 'reference', Inputs(8, step))
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer(x), plain(round_activations(x, 8, step)))
    layer.to(torch.bfloat16)
    assert step is None or layer.input_step.dtype == torch.float32


def test_a_token_that_comes_alone_keeps_its_inputs_where_only_prompts_are_rounded() -> None:
    dense = nn.Linear(24, 5).requires_grad_(False)
    plain = PackedLinear.from_linear(dense, 4, 'reference')
    layer = PackedLinear.from_quantized(
        plain.quantized, dense.bias, 'reference', Inputs(4, prompt_only=True)
    )
    x = torch.randn(2, 3, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer(x), plain(round_activations(x, 4)))
    for alone in (x[:, :1], x[:, 0]):
        assert torch.equal(layer(alone), plain(alone))


def test_other_widths_are_refused() -> None:
    with pytest.raises(ParameterError, match=r'6 bits are not supported; choose one of \(4, 8\)'):
        Activations(6)
