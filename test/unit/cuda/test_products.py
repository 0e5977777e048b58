# SPDX-License-Identifier: Apache-2.0
"""Products of the GPU's kernels against torch's, over odd shapes, widths, groups and rows."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import linear

from sqil_ros.errors import ProfileError
from sqil_ros.quant.activations import Inputs, round_activations
from sqil_ros.quant.back_ends import BACK_ENDS, LayerShape, choose_back_end
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.primitives import WHOLE_ROW, Grid, quantize
from sqil_ros.quant.triton_kernels.layout import WIDTHS

CPU = torch.device('cpu')
# Sums of float32 products in any order, measured against the sum of their magnitudes.
TOLERANCE = 2e-6
ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2**-8, torch.float16: 2**-10}
patient = settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # the interpreter is slow to shrink in
)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@st.composite
def grids(draw: st.DrawFn) -> tuple[Grid, int]:
    """A grid and a number of inputs that it fits."""
    bits, symmetric = draw(st.sampled_from(WIDTHS)), draw(st.booleans())
    if draw(st.booleans()):
        return Grid(bits, WHOLE_ROW, symmetric), draw(st.integers(1, 600))
    size = draw(st.sampled_from([32, 64, 96]))
    return Grid(bits, size, symmetric), size * draw(st.integers(1, 4))


def spread(packed: PackedLinear) -> Tensor:
    """(out, in) magnitudes of what codes and zero points stand for, each by itself."""
    scale = packed.scale.reshape(packed.out_features, -1, 1)
    codes = packed.quantized.codes.unflatten(1, (scale.shape[1], -1)).float().abs()
    if packed.zero is not None:
        codes = codes + packed.zero.reshape(scale.shape).float().abs()
    return (codes * scale).flatten(1)


def layer(
    case: tuple[Grid, int], outputs: int, seed: int, inputs: Inputs | None = None
) -> PackedLinear:
    grid, columns = case
    integers = quantize(random(outputs, columns, seed=seed) + 0.3, grid)
    bias = random(outputs, seed=seed + 2) if seed % 2 else None
    return PackedLinear.from_quantized(integers, bias, 'reference', inputs)


def on(device: torch.device, packed: PackedLinear) -> PackedLinear:
    packed.to(device)
    packed.use('cuda')
    assert packed.back_end == 'cuda'
    return packed


def assert_product(found: Tensor, seen: Tensor, packed: PackedLinear) -> None:
    """Equal to the product of what the layer sees with its weights, up to the order of sums."""
    weight, bias = packed.weight.cpu().double(), packed.bias
    bias = None if bias is None else bias.detach().cpu().double()
    expected = linear(seen.double(), weight, bias)
    bound = linear(seen.double().abs(), spread(packed).cpu().double())
    bound = TOLERANCE * bound + 1e-30 + (ROUNDING[found.dtype] + TOLERANCE) * expected.abs()
    if bias is not None:
        bound += TOLERANCE * bias.abs()
    assert found.shape == expected.shape
    assert bool(((found.cpu().double() - expected).abs() <= bound).all())


@patient
@given(grids(), st.integers(1, 24), st.integers(1, 40), st.integers(0, 2**16))
def test_inputs_in_floating_point(
    device: torch.device, case: tuple[Grid, int], outputs: int, rows: int, seed: int
) -> None:
    packed = on(device, layer(case, outputs, seed))
    x = random(rows, case[1], seed=seed + 1)
    assert_product(packed(x.to(device)), x, packed)


@patient
@given(
    grids(),
    st.integers(1, 24),
    st.integers(1, 20),
    st.sampled_from([4, 8]),
    st.sampled_from([None, 0.03, 0.5]),
    st.integers(0, 2**16),
)
def test_rounded_inputs(
    device: torch.device,
    case: tuple[Grid, int],
    outputs: int,
    rows: int,
    bits: int,
    step: float | None,
    seed: int,
) -> None:
    """As inputs rounded by torch times the same weights: not one code may differ."""
    static = None if step is None else torch.tensor(step)
    packed = on(device, layer(case, outputs, seed, Inputs(bits, static)))
    x = random(rows, case[1], seed=seed + 1)
    assert_product(packed(x.to(device)), round_activations(x, bits, static), packed)


@pytest.mark.parametrize('rows', [1, 9])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('bits', WIDTHS)
def test_half_precision_rounds_the_answer_only(
    device: torch.device, bits: int, dtype: torch.dtype, rows: int
) -> None:
    packed = on(device, layer((Grid(bits, symmetric=False), 150), 12, seed=3))
    x = random(rows, 150, seed=4).to(dtype)
    found = packed(x.to(device))
    assert found.dtype == dtype
    assert_product(found, x.float(), packed)


def test_more_outputs_than_a_tile(device: torch.device) -> None:
    for rows in (1, 70):
        packed = on(device, layer((Grid(4), 64), 150, seed=1))
        x = random(rows, 64, seed=2)
        assert_product(packed(x.to(device)), x, packed)


def test_inputs_of_prompts_alone(device: torch.device) -> None:
    packed = on(device, layer((Grid(4), 96), 8, seed=0, inputs=Inputs(8, prompt_only=True)))
    alone, prompt = random(1, 1, 96, seed=1), random(1, 5, 96, seed=2)
    assert_product(packed(alone.to(device))[0], alone[0], packed)
    assert_product(packed(prompt.to(device))[0], round_activations(prompt, 8)[0], packed)


@pytest.mark.parametrize('inputs', [None, Inputs(8), Inputs(8, torch.tensor(0.1))])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_infinities_and_nans_arrive(
    device: torch.device, inputs: Inputs | None, value: float
) -> None:
    packed = on(device, layer((Grid(4), 40), 8, seed=0, inputs=inputs))
    for rows in (1, 9):
        x = torch.full((rows, 40), value, device=device)
        assert not bool(torch.isfinite(packed(x)).any())


@pytest.mark.parametrize('bits', WIDTHS)
def test_what_is_saved_does_not_depend_on_the_back_end(device: torch.device, bits: int) -> None:
    portable = layer((Grid(bits), 100), 6, seed=0).packed.clone()
    packed = on(device, layer((Grid(bits), 100), 6, seed=0))
    assert torch.equal(packed.state_dict()['packed'].cpu(), portable)
    packed.use('reference')
    assert torch.equal(packed.packed.cpu(), portable)


def test_the_back_end_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = BACK_ENDS['cuda']
    assert 'has 5' in cuda.refusal(LayerShape(4, 64, 5), CPU)
    assert 'has 16' in cuda.refusal(LayerShape(4, 64, 4, groups=4), CPU)
    assert 'meta' in cuda.refusal(LayerShape(4, 64, 4), torch.device('meta'))
    monkeypatch.setattr('sqil_ros.quant.cuda.interpreted', lambda: False)
    with pytest.raises(ProfileError, match='NVIDIA GPUs only, the layer is on cpu'):
        choose_back_end('cuda', LayerShape(4, 64, 4), CPU)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert 'Triton is not installed' in cuda.refusal(LayerShape(4, 64, 4), torch.device('cuda'))


def test_auto_never_interprets() -> None:
    """Groups of 16 inputs are served by nothing but the reference on a CPU."""
    for shape in (LayerShape(4, 64, 4), LayerShape(4, 64, 4, groups=4), LayerShape(4, 64, 8, 2)):
        assert choose_back_end('auto', shape, CPU).name != 'cuda'


def test_nothing_but_the_kernels_needs_triton() -> None:
    program = """
import sys
sys.modules['triton'] = None
import torch
import sqil_ros.bench.gpu.__main__
import sqil_ros.policy.openvla.checkpoint
from sqil_ros.quant.linear import PackedLinear
print(PackedLinear.from_linear(torch.nn.Linear(64, 8), 4)(torch.ones(1, 64)).shape)
"""
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == 'torch.Size([1, 8])', done.stderr[-2000:]
