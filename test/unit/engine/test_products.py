# SPDX-License-Identifier: Apache-2.0
"""Products of the engine against torch's, over odd shapes, widths, levels and threads."""

from __future__ import annotations

import os
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import linear

from sqil_ros.engine.tiles import HALVES, PACKED_WIDTHS, dense_weights, multiply
from sqil_ros.quant.activations import Inputs, round_activations
from sqil_ros.quant.back_ends import BACK_ENDS, LayerShape
from sqil_ros.quant.linear import FakeQuantLinear, PackedLinear
from sqil_ros.quant.primitives import WHOLE_ROW, Grid, quantize

CPU = torch.device('cpu')
# Sums of float32 products in any order, measured against the sum of their magnitudes.
TOLERANCE = 1e-6
FEW = 2
# The level is chosen once for all examples.
patient = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_close(found: Tensor, expected: Tensor, bound: Tensor) -> None:
    error = (found.double() - expected.double()).abs()
    assert found.shape == expected.shape
    assert bool((error <= TOLERANCE * bound).all()), float((error / bound).max())


def bound_of(x: Tensor, magnitudes: Tensor, bias: Tensor | None = None) -> Tensor:
    """Sums of magnitudes; few rows may be split into bytes, to 2^-23 of their largest input."""
    bound = linear(x.abs(), magnitudes, None if bias is None else bias.abs())
    peak = x.abs().amax(1, keepdim=True) if len(x) <= FEW else torch.zeros(len(x), 1)
    return bound + 2**-23 / TOLERANCE * peak * magnitudes.sum(1)


def spread(packed: PackedLinear) -> Tensor:
    """(out, in) what codes and zero points stand for, each by itself."""
    assert packed.zero is not None
    scale, zero = (
        s.reshape(packed.out_features, -1, 1).float() for s in (packed.scale, packed.zero)
    )
    codes = packed.quantized.codes.unflatten(1, (scale.shape[1], -1)).float()
    return ((codes.abs() + zero.abs()) * scale).flatten(1)


@st.composite
def grids(draw: st.DrawFn) -> tuple[Grid, int]:
    """A grid and a number of inputs that it fits."""
    bits, symmetric = draw(st.sampled_from(PACKED_WIDTHS)), draw(st.booleans())
    if draw(st.booleans()):
        return Grid(bits, WHOLE_ROW, symmetric), draw(st.integers(1, 450))
    size = draw(st.sampled_from([32, 64, 96]))
    return Grid(bits, size, symmetric), size * draw(st.integers(1, 4))


@patient
@given(
    grids(),
    st.integers(1, 100),
    st.integers(1, 70),
    st.sampled_from([1, 2]),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_packed_products(
    each_level: str,
    case: tuple[Grid, int],
    out_features: int,
    rows: int,
    threads: int,
    bias: bool,
    seed: int,
) -> None:
    grid, in_features = case
    torch.set_num_threads(threads)
    dense = nn.Linear(in_features, out_features, bias).requires_grad_(False)
    dense.weight.copy_(random(out_features, in_features, seed=seed) + 0.3)
    packed, fake = (kind.from_linear(dense, grid) for kind in (PackedLinear, FakeQuantLinear))
    assert packed.back_end == 'cpu'
    assert torch.equal(packed.weight, fake.weight)
    x = random(rows, in_features, seed=seed + 1)
    # With a zero point the codes are added up before it is taken off.
    added = fake.weight.abs() if grid.symmetric else spread(packed)
    assert_close(packed(x), fake(x), bound_of(x, added, dense.bias))


@patient
@given(
    grids(),
    st.integers(1, 100),
    st.integers(1, 70),
    st.sampled_from([4, 8]),
    st.sampled_from([None, 0.03, 0.5]),
    st.integers(0, 2**16),
)
def test_products_of_rounded_inputs(
    each_level: str,
    case: tuple[Grid, int],
    out_features: int,
    rows: int,
    input_bits: int,
    step: float | None,
    seed: int,
) -> None:
    """As the inputs rounded by torch times the same weights: not one code may differ."""
    grid, in_features = case
    torch.set_num_threads(1 + seed % 2)
    dense = nn.Linear(in_features, out_features).requires_grad_(False)
    dense.weight.copy_(random(out_features, in_features, seed=seed) + 0.3)
    static = None if step is None else torch.tensor(step)
    integers = quantize(dense.weight, grid)
    packed = PackedLinear.from_quantized(integers, dense.bias, 'cpu', Inputs(input_bits, static))
    x = random(rows, in_features, seed=seed + 1)
    seen = round_activations(x, input_bits, static)
    added = packed.weight.abs() if grid.symmetric else spread(packed)
    bound = linear(seen.abs(), added, dense.bias.abs())
    assert_close(packed(x), linear(seen, packed.weight, dense.bias), bound)


@pytest.mark.parametrize('bits', PACKED_WIDTHS)
@pytest.mark.parametrize(('in_features', 'group'), [(2100, WHOLE_ROW), (2304, 1152), (2304, 32)])
def test_products_that_take_many_rounds(
    each_level: str, bits: int, in_features: int, group: int
) -> None:
    """More rows than share a decoded panel, more columns than it has."""
    torch.set_num_threads(2)
    dense = nn.Linear(in_features, 40).requires_grad_(False)
    integers = quantize(dense.weight, Grid(bits, group, symmetric=group == WHOLE_ROW))
    packed = PackedLinear.from_quantized(integers, dense.bias, 'cpu', Inputs(8, None))
    x = random(305, in_features, seed=bits)
    seen = round_activations(x, 8, None)
    added = packed.weight.abs() if group == WHOLE_ROW else spread(packed)
    bound = linear(seen.abs(), added, dense.bias.abs())
    assert_close(packed(x), linear(seen, packed.weight, dense.bias), bound)


@patient
@given(grids(), st.integers(1, 100), st.integers(1, 70), st.booleans(), st.integers(0, 2**16))
def test_inputs_in_bfloat16_lose_nothing(
    each_level: str,
    case: tuple[Grid, int],
    out_features: int,
    rows: int,
    dense: bool,
    seed: int,
) -> None:
    """Of packed weights, and of those that are kept in bfloat16."""
    grid, in_features = case
    bias = random(out_features, seed=seed)
    weight = random(out_features, in_features, seed=seed + 1).bfloat16().float() + 0.25
    packed = PackedLinear.from_quantized(quantize(weight, grid), bias)
    assert packed.tiles is not None
    bands = dense_weights(weight, bias) if dense else packed.tiles
    stands_for = weight if dense else packed.weight
    x = random(rows, in_features, seed=seed + 2).bfloat16().float()
    added = spread(packed) if not dense and not grid.symmetric else stands_for.abs()
    found = multiply(x, [bands], 1 + seed % 2, HALVES)
    assert_close(found, linear(x, stands_for, bias), bound_of(x, added, bias))


def test_inputs_may_be_rounded_to_bfloat16_where_the_processor_multiplies_it(
    each_level: str,
) -> None:
    weight = random(40, 700, seed=0).bfloat16().float()
    x = random(305, 700, seed=1)
    seen = x.bfloat16().float() if each_level == 'avx512bf16' else x
    found = multiply(x, [dense_weights(weight)], 2, HALVES)
    assert_close(found, linear(seen, weight), linear(x.abs(), weight.abs()))


@patient
@given(
    st.sampled_from(PACKED_WIDTHS), st.integers(1, 450), st.integers(1, 2), st.integers(0, 2**16)
)
def test_a_large_input_leaves_the_others_their_bits(
    each_level: str, bits: int, in_features: int, rows: int, seed: int
) -> None:
    """Few rows may be split into bytes, to 2^-23 of the largest input of a row."""
    packed = PackedLinear.from_quantized(quantize(random(40, in_features, seed=seed), bits))
    x = random(rows, in_features, seed=seed + 1)
    x[:, seed % in_features] = 1e4
    bound = bound_of(x, packed.weight.abs())
    assert_close(packed(x), linear(x.double(), packed.weight.double()), bound)


@patient
@given(
    st.integers(1, 100),
    st.integers(1, 450),
    st.integers(1, 70),
    st.sampled_from([1, 2]),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_dense_products(
    each_level: str,
    out_features: int,
    in_features: int,
    rows: int,
    threads: int,
    half: bool,
    seed: int,
) -> None:
    weight, bias = random(out_features, in_features, seed=seed), random(out_features, seed=seed)
    weight = weight.bfloat16().float() if half else weight
    weights = dense_weights(weight, bias)
    assert weights.bits == (16 if half else 32)
    x = random(rows, in_features, seed=seed + 1)
    bound = linear(x.abs(), weight.abs(), bias.abs())
    assert_close(multiply(x, [weights], threads), linear(x, weight, bias), bound)


def test_the_levels_hold_one_layout(each_level: str) -> None:
    """What one level has prepared, another may compute with."""
    dense = nn.Linear(100, 40)
    portable = PackedLinear.from_linear(dense, 3, 'reference').packed
    assert torch.equal(PackedLinear.from_linear(dense, 3, 'cpu').state_dict()['packed'], portable)


def test_storage_is_as_small_as_it_claims() -> None:
    for bits in PACKED_WIDTHS:
        packed = PackedLinear.from_linear(nn.Linear(192, 64), bits, 'cpu')
        assert packed.packed.numel() == 64 * 192 * bits // 8


@pytest.mark.parametrize('input_bits', [None, 8])
@pytest.mark.parametrize('step', [None, torch.tensor(0.1)])
def test_infinities_and_nans_arrive(
    each_level: str, input_bits: int | None, step: Tensor | None
) -> None:
    integers = quantize(random(20, 40, seed=0), 4)
    inputs = None if input_bits is None else Inputs(input_bits, step)
    packed = PackedLinear.from_quantized(integers, None, 'cpu', inputs)
    for value in (float('nan'), float('inf')):
        for rows in (1, 9):
            assert not bool(torch.isfinite(packed(torch.full((rows, 40), value))).any())


def test_the_back_end_says_what_it_lacks() -> None:
    cpu = BACK_ENDS['cpu']
    assert 'has 5' in cpu.refusal(LayerShape(4, 64, 5), CPU)
    assert 'has 16' in cpu.refusal(LayerShape(4, 64, 4, groups=4), CPU)
    assert 'cuda' in cpu.refusal(LayerShape(4, 64, 4), torch.device('cuda'))


def test_calls_from_several_threads_do_not_mix() -> None:
    torch.set_num_threads(2)
    packed = PackedLinear.from_linear(nn.Linear(300, 200), 4)
    inputs = [random(5, 300, seed=seed) for seed in range(4)]
    expected = [packed(x) for x in inputs]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(50):
            if not torch.equal(packed(inputs[index]), expected[index]):
                wrong.append(index)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_forked_process_has_threads_of_its_own() -> None:
    """Policies are forked; the threads of their parent are not there."""
    torch.set_num_threads(2)
    weights, x = dense_weights(random(200, 300, seed=0)), random(1, 300, seed=1)
    expected = multiply(x, [weights], 2)
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(multiply(x, [weights], 2), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
