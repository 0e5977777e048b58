# SPDX-License-Identifier: Apache-2.0
"""The quantiser and the packing: every step with its inverse, over odd shapes and all widths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sqil_ros.errors import ParameterError, ProfileError
from sqil_ros.quant.packing import pack, row_bytes, unpack
from sqil_ros.quant.primitives import (
    WIDTHS,
    Quantized,
    code_range,
    dequantize,
    fake_quantize,
    quantize,
    relative_error,
)

patient = settings(deadline=None, max_examples=50)  # a busy machine is no failure
widths = st.sampled_from(WIDTHS)
sizes = st.integers(1, 70)


@st.composite
def weights(draw: st.DrawFn) -> Tensor:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    weight = torch.randn(draw(st.integers(1, 9)), draw(sizes), generator=generator)
    return weight * 10.0 ** draw(st.integers(-30, 30))


@st.composite
def codes(draw: st.DrawFn, bits: int) -> Tensor:
    lowest, highest = code_range(bits)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    shape = (draw(st.integers(1, 9)), draw(sizes))
    return torch.randint(lowest, highest + 1, shape, generator=generator, dtype=torch.int8)


@patient
@given(weights(), widths)
def test_rounding_errs_by_half_a_step_at_most(weight: Tensor, bits: int) -> None:
    quantized = quantize(weight, bits)
    error = (weight - dequantize(quantized)).abs()
    assert bool((error <= 0.5 * quantized.scale[:, None] * (1 + 1e-5)).all())


@patient
@given(weights(), widths)
def test_codes_stay_in_range_and_the_largest_weight_is_kept(weight: Tensor, bits: int) -> None:
    lowest, highest = code_range(bits)
    quantized = quantize(weight, bits)
    assert quantized.codes.dtype == torch.int8
    assert int(quantized.codes.min()) >= lowest
    assert int(quantized.codes.max()) <= highest
    assert bool((quantized.codes.abs().amax(1) == highest).all())
    largest = dequantize(quantized).abs().amax(1)
    torch.testing.assert_close(largest, weight.abs().amax(1), rtol=1e-6, atol=0.0)


@patient
@given(weights(), widths)
def test_weights_on_the_grid_stay_there(weight: Tensor, bits: int) -> None:
    first = quantize(weight, bits)
    second = quantize(dequantize(first), bits)
    assert torch.equal(first.codes, second.codes)


@patient
@given(weights(), widths, st.integers(0, 2**32))
def test_rows_do_not_see_each_other(weight: Tensor, bits: int, seed: int) -> None:
    order = torch.randperm(len(weight), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(quantize(weight, bits).codes[order], quantize(weight[order], bits).codes)


@pytest.mark.parametrize('bits', WIDTHS)
def test_rows_of_zeros_and_denormals_become_zeros(bits: int) -> None:
    weight = torch.tensor([[0.0, 0.0], [1e-44, -1e-45], [1.0, -0.5]])
    quantized = quantize(weight, bits)
    assert torch.equal(quantized.codes[:2], torch.zeros(2, 2, dtype=torch.int8))
    assert bool((quantized.scale > 0).all())
    assert bool(torch.isfinite(dequantize(quantized)).all())


def test_more_bits_err_less() -> None:
    weight = torch.randn(64, 192, generator=torch.Generator().manual_seed(0))
    errors = [relative_error(weight, quantize(weight, bits)) for bits in WIDTHS]
    assert errors == sorted(errors, reverse=True)
    assert 0.002 < errors[-1] < 0.01
    assert relative_error(torch.zeros(2, 2), quantize(torch.zeros(2, 2), 4)) == 0.0


def test_a_known_row() -> None:
    quantized = quantize(torch.tensor([[0.7, -0.35, 0.04, -0.7]]), 4)
    assert quantized.codes.tolist() == [[7, -4, 0, -7]]  # -3.5 rounds to even
    assert quantized.scale.tolist() == pytest.approx([0.1])


@patient
@given(weights(), widths)
def test_fake_weights_keep_their_dtype(weight: Tensor, bits: int) -> None:
    half = weight.clamp(-1e4, 1e4).to(torch.bfloat16)
    assert fake_quantize(half, bits).dtype == torch.bfloat16


@pytest.mark.parametrize('bits', [-1, 0, 1, 9, 16])
def test_other_widths_are_refused(bits: int) -> None:
    with pytest.raises(ParameterError, match='2 to 8'):
        quantize(torch.ones(2, 2), bits)


def test_bad_weights_are_refused() -> None:
    with pytest.raises(ProfileError, match='2 of 4 weights are not finite'):
        quantize(torch.tensor([[1.0, float('nan')], [float('inf'), 0.0]]), 4)
    with pytest.raises(ProfileError, match='no output rows'):
        quantize(torch.ones(3), 4)


@patient
@given(st.data(), widths)
def test_packing_is_exact(data: st.DataObject, bits: int) -> None:
    values = data.draw(codes(bits))
    packed = pack(values, bits)
    assert packed.dtype == torch.uint8
    assert packed.shape == (len(values), row_bytes(values.shape[1], bits))
    assert torch.equal(unpack(packed, bits, values.shape[1]), values)


@patient
@given(widths, sizes)
def test_no_bit_is_wasted_beyond_the_last_word(bits: int, in_features: int) -> None:
    spare = 8 * row_bytes(in_features, bits) - in_features * bits
    assert 0 <= spare < 32


@patient
@given(st.data(), st.sampled_from([2, 3, 4, 8]))
def test_rows_are_little_endian_bit_streams_of_offset_codes(
    data: st.DataObject, bits: int
) -> None:
    """The layout of compressed-tensors' pack-quantized, spelled out with integers."""
    values = data.draw(codes(bits))
    for row, packed in zip(values.tolist(), pack(values, bits).tolist(), strict=True):
        stream = sum((code + (1 << (bits - 1))) << (bits * i) for i, code in enumerate(row))
        assert int.from_bytes(bytes(packed), 'little') == stream


def test_three_bits_are_three_bits() -> None:
    assert row_bytes(192, 3) * 8 == 192 * 3


def test_packing_refuses_what_does_not_fit() -> None:
    with pytest.raises(ProfileError, match='do not fit 3 bits'):
        pack(torch.tensor([[4]], dtype=torch.int8), 3)
    packed = pack(torch.zeros(2, 64, dtype=torch.int8), 4)
    with pytest.raises(ProfileError, match='24'):
        unpack(packed, 3, 64)
    with pytest.raises(ProfileError, match='uint8'):
        unpack(packed.to(torch.int32), 4, 64)


def test_a_quantized_matrix_is_immutable() -> None:
    quantized = Quantized(torch.zeros(1, 1, dtype=torch.int8), torch.ones(1), 4)
    with pytest.raises(AttributeError):
        quantized.bits = 3  # type: ignore[misc]
