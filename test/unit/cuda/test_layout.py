# SPDX-License-Identifier: Apache-2.0
"""The words that kernels read hold all codes, and no more bits than they say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sqil_ros.quant.layer_shape import LayerShape
from sqil_ros.quant.packing import pack
from sqil_ros.quant.primitives import code_range
from sqil_ros.quant.triton_kernels.layout import WIDTHS, rows_from_words, words_from_rows


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(WIDTHS), st.integers(1, 9), st.integers(1, 2100), st.integers(0, 2**16))
def test_there_and_back(bits: int, outputs: int, inputs: int, seed: int) -> None:
    lowest, highest = code_range(bits)
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(lowest, highest + 1, (outputs, inputs), generator=generator)
    packed, shape = pack(codes.to(torch.int8), bits), LayerShape(outputs, inputs, bits)
    assert torch.equal(rows_from_words(words_from_rows(packed, shape), shape), packed)


@pytest.mark.parametrize('bits', WIDTHS)
def test_rows_are_independent(bits: int) -> None:
    """Layers that share an input are joined by putting their rows one below the other."""
    shape, packed = LayerShape(6, 300, bits), torch.randint(0, 256, (6, 1200), dtype=torch.uint8)
    packed = packed[:, : -(-300 * bits // 32) * 4]
    halves = [words_from_rows(half, LayerShape(3, 300, bits)) for half in packed.split(3)]
    assert torch.equal(words_from_rows(packed, shape), torch.cat(halves))


@pytest.mark.parametrize('bits', WIDTHS)
@pytest.mark.parametrize('inputs', [1024, 4096])
def test_a_code_takes_its_width(bits: int, inputs: int) -> None:
    shape = LayerShape(3, inputs, bits)
    words = words_from_rows(pack(torch.zeros(3, inputs, dtype=torch.int8), bits), shape)
    assert words.numel() * 32 == 3 * inputs * bits
