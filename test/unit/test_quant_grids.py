# SPDX-License-Identifier: Apache-2.0
"""Groups along the input and zero points: from the quantiser to a profile on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from sqil_ros.errors import ParameterError, ProfileError
from sqil_ros.quant.activations import Activations, Inputs, round_activations
from sqil_ros.quant.back_ends import BACK_ENDS, LayerShape
from sqil_ros.quant.linear import FakeQuantLinear, PackedLinear
from sqil_ros.quant.manifest import MANIFEST_NAME, read_manifest, write_manifest
from sqil_ros.quant.packing import pack, unpack
from sqil_ros.quant.primitives import (
    WHOLE_ROW,
    WIDTHS,
    Grid,
    Quantized,
    code_range,
    dequantize,
    find_steps,
    quantize,
    relative_error,
)
from sqil_ros.quant.profile import WEIGHTS_NAME, apply_profile, write_profile
from sqil_ros.share import share_directory

patient = settings(deadline=None, max_examples=30)  # a busy machine is no failure
widths = st.sampled_from(WIDTHS)
seeds = st.integers(0, 2**32)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Grid]:
    """A matrix with rows off centre, and a grid that divides it."""
    size, groups, rows = draw(st.integers(1, 20)), draw(st.integers(1, 5)), draw(st.integers(1, 9))
    weight = random(rows, size * groups, seed=draw(seeds))
    weight = (weight + draw(st.floats(-3, 3))) * 10.0 ** draw(st.integers(-20, 20))
    group_size = draw(st.sampled_from([WHOLE_ROW, size, size * groups]))
    return weight, Grid(draw(widths), group_size, draw(st.booleans()))


@patient
@given(cases())
def test_rounding_errs_by_half_a_step_at_most(case: tuple[Tensor, Grid]) -> None:
    weight, grid = case
    quantized = quantize(weight, grid)
    lowest, highest = code_range(grid.bits)
    assert lowest <= int(quantized.codes.min()) <= int(quantized.codes.max()) <= highest
    error = (weight - dequantize(quantized)).abs()
    groups = quantized.scale.reshape(len(weight), -1)
    half = 0.5 * groups.repeat_interleave(weight.shape[1] // groups.shape[1], dim=1)
    assert bool((error <= half * (1 + 1e-4)).all())


@patient
@given(cases())
def test_zero_stays_zero(case: tuple[Tensor, Grid]) -> None:
    weight, grid = case
    weight[:, 0] = 0.0
    assert bool((dequantize(quantize(weight, grid))[:, 0] == 0.0).all())


@patient
@given(cases())
def test_a_group_as_long_as_a_row_is_a_row(case: tuple[Tensor, Grid]) -> None:
    weight, grid = case
    whole = quantize(weight, Grid(grid.bits, WHOLE_ROW, grid.symmetric))
    group = quantize(weight, Grid(grid.bits, weight.shape[1], grid.symmetric))
    assert torch.equal(whole.codes, group.codes)
    assert torch.equal(whole.scale, group.scale)
    assert whole.grid == group.grid


@patient
@given(cases())
def test_groups_do_not_see_each_other(case: tuple[Tensor, Grid]) -> None:
    weight, grid = case
    if grid.group_size == WHOLE_ROW:
        return
    parts = [quantize(part, grid) for part in weight.split(grid.group_size, dim=1)]
    assert torch.equal(quantize(weight, grid).codes, torch.cat([p.codes for p in parts], dim=1))


@patient
@given(widths, seeds, st.floats(0, 5))
def test_zero_points_never_make_a_step_longer(bits: int, seed: int, shift: float) -> None:
    """Half a step bounds the error, so skewed rows gain and centred ones do not lose."""
    weight = random(7, 40, seed=seed) + shift
    symmetric, asymmetric = (find_steps(weight, Grid(bits, WHOLE_ROW, s)) for s in (True, False))
    assert bool((asymmetric.scale < symmetric.scale).all())


@patient
@given(st.integers(3, 8), seeds)
def test_rows_of_one_sign_err_less_with_zero_points(bits: int, seed: int) -> None:
    weight = random(8, 256, seed=seed).abs()
    errors = [
        float((weight - dequantize(quantize(weight, Grid(bits, WHOLE_ROW, s)))).abs().max())
        for s in (True, False)
    ]
    assert errors[1] <= errors[0]


def test_smaller_groups_err_less() -> None:
    weight = random(32, 192) * torch.linspace(0.1, 3, 192)
    errors = [relative_error(weight, quantize(weight, Grid(3, size))) for size in (8, 24, 96, 0)]
    assert errors == sorted(errors)


@patient
@given(cases())
def test_a_matrix_survives_packing(case: tuple[Tensor, Grid]) -> None:
    quantized = quantize(*case)
    codes = unpack(pack(quantized.codes, quantized.bits), quantized.bits, case[0].shape[1])
    again = Quantized(codes, quantized.scale, quantized.bits, quantized.zero)
    assert torch.equal(dequantize(again), dequantize(quantized))


@patient
@given(cases(), seeds)
def test_packed_equals_fake(case: tuple[Tensor, Grid], seed: int) -> None:
    weight, grid = case
    dense = nn.Linear(weight.shape[1], len(weight)).requires_grad_(False)
    dense.weight.copy_(weight)
    packed = PackedLinear.from_linear(dense, grid, 'reference')
    x = random(3, weight.shape[1], seed=seed)
    assert torch.equal(packed(x), FakeQuantLinear.from_linear(dense, grid)(x))
    assert torch.equal(packed.quantized.codes, quantize(weight, grid).codes)


@pytest.mark.parametrize('grid', [Grid(4, 16), Grid(4, 0, False), Grid(8, 16, False)])
def test_state_and_moves_keep_zero_points(grid: Grid) -> None:
    dense = nn.Linear(48, 9).requires_grad_(False)
    packed = PackedLinear.from_linear(dense, grid)
    assert packed.back_end == ('reference' if grid.group_size else 'cpu')
    other = PackedLinear.from_linear(nn.Linear(48, 9), grid)
    other.load_state_dict(packed.state_dict())
    other.to(torch.bfloat16)
    x = random(2, 48)
    assert torch.equal(other.quantized.codes, packed.quantized.codes)
    torch.testing.assert_close(other.float()(x), packed(x), rtol=0.01, atol=0.01)  # bf16 bias


def test_torchs_back_end_says_what_it_lacks() -> None:
    fast = BACK_ENDS['torch_cpu']
    assert 'the layer has 3' in fast.refusal(LayerShape(4, 6, 4, groups=3), torch.device('cpu'))
    reason = fast.refusal(LayerShape(4, 6, 8, symmetric=False), torch.device('cpu'))
    assert 'zero points' in reason


@patient
@given(st.integers(2, 4), st.integers(1, 40), st.integers(1, 70), seeds, st.floats(-2, 2))
def test_torchs_back_end_takes_zero_points_of_whole_rows(
    bits: int, out_features: int, in_features: int, seed: int, shift: float
) -> None:
    dense = nn.Linear(in_features, out_features).requires_grad_(False)
    dense.weight.copy_(random(out_features, in_features, seed=seed) + shift)
    grid = Grid(bits, WHOLE_ROW, False)
    packed = PackedLinear.from_linear(dense, grid, 'torch_cpu')
    fake = FakeQuantLinear.from_linear(dense, grid)
    assert torch.equal(packed.quantized.codes, quantize(dense.weight, grid).codes)
    x = random(3, in_features, seed=seed + 1)
    bound = nn.functional.linear(x.abs(), fake.weight.abs()) + dense.bias.abs()
    # torch's product rounds activations and results to bfloat16, 2^-8 each
    assert bool(((packed(x) - fake(x)).abs() <= 2 * 2.0**-8 * bound).all())


@pytest.mark.parametrize('size', [5, -1, 96])
def test_groups_that_do_not_divide_are_refused(size: int) -> None:
    with pytest.raises(ParameterError, match=f'{size} does not divide the 48.*choose'):
        quantize(torch.ones(2, 48), Grid(4, size))


def test_steps_that_do_not_fit_are_refused() -> None:
    good = quantize(random(4, 12), Grid(4, 6, False))
    rows = pack(good.codes, 4)
    assert good.zero is not None
    with pytest.raises(ProfileError, match='equal run'):
        PackedLinear(rows, torch.ones(4, 5), None, 12, 4)
    with pytest.raises(ProfileError, match='zero points are'):
        PackedLinear(rows, good.scale, None, 12, 4, zero=good.zero[:, 0])
    with pytest.raises(ProfileError, match='outside -8 to 7'):
        PackedLinear(rows, good.scale, None, 12, 4, zero=good.zero + 100)
    with pytest.raises(ParameterError, match='5 bits'):
        PackedLinear(rows, good.scale, None, 12, 4, zero=good.zero, inputs=Inputs(5))
    with pytest.raises(ProfileError, match='positive'):
        PackedLinear(
            rows, good.scale, None, 12, 4, zero=good.zero, inputs=Inputs(8, torch.tensor(-1.0))
        )


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 6))
    return net.requires_grad_(False)


@pytest.mark.parametrize('grid', [Grid(3, 12), Grid(4, 0, False), Grid(2, 4, False)])
@pytest.mark.parametrize(
    'activations',
    [None, Activations(8), Activations(4, {'0': 0.3, '2': 0.1})],
    ids=['a16', 'a8', 'a4static'],
)
def test_a_profile_computes_what_was_written(
    tmp_path: Path, grid: Grid, activations: Activations | None
) -> None:
    net = network()
    layers = {name: quantize(net.get_submodule(name).weight, grid) for name in ('0', '2')}
    profile = write_profile(
        tmp_path, f'int{grid.bits}_rtn', net, {'all': layers}, method='rtn', base='a' * 64,
        contract='b' * 16, rest_dtype=torch.float32, activations=activations,
    )  # fmt: skip
    directory = tmp_path / profile.name
    assert read_manifest(directory) == profile
    assert profile.groups[0].grid == grid
    loaded = network()
    apply_profile(loaded, directory, 'reference')
    x = random(5, 12)
    expected = x
    for name, module in net.named_children():
        if name not in layers:
            expected = module(expected)
            continue
        if activations is not None:
            step = None if activations.steps is None else torch.tensor(activations.steps[name])
            expected = round_activations(expected, activations.bits, step)
        expected = nn.functional.linear(expected, dequantize(layers[name]), module.bias)
    assert torch.equal(loaded(x), expected)


def test_a_profile_at_odds_with_its_manifest_is_refused(tmp_path: Path) -> None:
    net = network()
    layers = {name: quantize(net.get_submodule(name).weight, Grid(4, 6)) for name in ('0', '2')}
    facts = {'method': 'rtn', 'base': 'a' * 64, 'contract': 'b' * 16}
    write_profile(tmp_path, 'int4_rtn', net, {'all': layers}, **facts)
    path = tmp_path / 'int4_rtn' / MANIFEST_NAME
    path.write_text(path.read_text().replace('group_size: 6', 'group_size: 4'))
    with pytest.raises(ProfileError, match=r'layer 0 has scales \(24, 2\).*need \(24, 3\)'):
        apply_profile(network(), tmp_path / 'int4_rtn')
    mixed = {**layers, '2': quantize(net.get_submodule('2').weight, Grid(4, 6, False))}
    with pytest.raises(ProfileError, match='each grid its own group'):
        write_profile(tmp_path, 'int4_rtn', net, {'all': mixed}, **facts)


@pytest.mark.parametrize('name', ['int8_rtn', 'int4_rtn', 'int3_rtn'])
def test_committed_profiles_keep_their_meaning(tmp_path: Path, name: str) -> None:
    """What an older version wrote is read, and means the same when it is written again."""
    directory = share_directory() / 'models' / 'toy_sink_openvla' / 'profiles' / name
    profile = read_manifest(directory)
    write_manifest(tmp_path, profile)
    assert read_manifest(tmp_path) == profile
    stored = load_file(directory / WEIGHTS_NAME)
    for group in profile.groups:
        assert group.grid == Grid(group.bits)
        assert all(stored[f'{layer}.scale'].ndim == 1 for layer in group.layers)
