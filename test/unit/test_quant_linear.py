# SPDX-License-Identifier: Apache-2.0
"""Packed layers compute what fake-quantised layers compute, on every back-end."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sqil_ros.errors import ProfileError
from sqil_ros.quant.back_ends import BACK_ENDS, LayerShape, choose_back_end
from sqil_ros.quant.linear import FakeQuantLinear, PackedLinear
from sqil_ros.quant.packing import pack, row_bytes
from sqil_ros.quant.primitives import WIDTHS, quantize

CPU = torch.device('cpu')
patient = settings(deadline=None, max_examples=100)  # a busy machine is no failure
DTYPES = (torch.float32, torch.bfloat16)
# On a CPU the kernels of GPUs are interpreted, if at all; test/unit/cuda multiplies with them.
AT_HAND = [name for name, b in BACK_ENDS.items() if not b.refusal(LayerShape(8, 8, 4), CPU)]
SERVED = [
    (name, bits)
    for name in AT_HAND
    for bits in WIDTHS
    if name != 'cuda' and not BACK_ENDS[name].refusal(LayerShape(8, 8, bits), CPU)
]
# The reference is the fake layer bit for bit. The engine adds up float32 products in another
# order, and never rounds weights to bfloat16 as the fake layer does for such activations. torch's
# 4-bit product rounds activations and results to bfloat16 (2^-8 each); its 8-bit path does so only
# for bfloat16 activations.
BFLOAT16 = 2.0**-8
TOLERANCE = {
    ('reference', torch.float32): 0.0,
    ('reference', torch.bfloat16): 0.0,
    ('cpu', torch.float32): 1e-6,
    ('cpu', torch.bfloat16): 2 * BFLOAT16,
    ('torch_cpu', torch.float32): 2 * BFLOAT16,
    ('torch_cpu', torch.bfloat16): 2 * BFLOAT16,
}


def layer(out_features: int, in_features: int, seed: int = 0, bias: bool = True) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(in_features, out_features, bias).requires_grad_(False)


def inputs(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_parity(packed: Tensor, fake: Tensor, bound: Tensor, tolerance: float) -> None:
    """Errors measured against the sum of the magnitudes that were added up."""
    assert packed.dtype == fake.dtype
    assert packed.shape == fake.shape
    error = (packed.double() - fake.double()).abs()
    assert bool((error <= tolerance * bound).all()), float((error / bound).max())


@patient
@given(
    st.sampled_from(SERVED),
    st.sampled_from(DTYPES),
    st.integers(1, 70),
    st.integers(1, 130),
    st.sampled_from([(), (1,), (3,), (2, 5), (17,)]),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_packed_equals_fake(
    served: tuple[str, int],
    dtype: torch.dtype,
    out_features: int,
    in_features: int,
    leading: tuple[int, ...],
    bias: bool,
    seed: int,
) -> None:
    back_end, bits = served
    dense = layer(out_features, in_features, seed, bias).to(dtype)
    fake = FakeQuantLinear.from_linear(dense, bits)
    packed = PackedLinear.from_linear(dense, bits, back_end)
    x = inputs(*leading, in_features, seed=seed, dtype=dtype)
    with torch.inference_mode():
        bound = nn.functional.linear(x.double().abs(), fake.weight.double().abs())
        if bias:
            bound = bound + dense.bias.double().abs()
        exact = back_end == 'torch_cpu' and bits == 8 and dtype == torch.float32
        tolerance = 1e-6 if exact else TOLERANCE[back_end, dtype]
        assert_parity(packed(x), fake(x), bound, tolerance)


@pytest.mark.parametrize(('back_end', 'bits'), SERVED)
def test_what_is_stored_is_the_integers(back_end: str, bits: int) -> None:
    dense = layer(37, 75)
    packed = PackedLinear.from_linear(dense, bits, back_end)
    expected = quantize(dense.weight, bits)
    assert torch.equal(packed.quantized.codes, expected.codes)
    assert torch.equal(packed.scale, expected.scale)
    assert torch.equal(packed.weight, FakeQuantLinear.from_linear(dense, bits).weight)


@pytest.mark.parametrize('bits', [3, 4, 8])
def test_reference_storage_is_as_small_as_it_claims(bits: int) -> None:
    packed = PackedLinear.from_linear(layer(64, 192), bits, 'reference')
    assert packed.packed.numel() == 64 * 192 * bits // 8
    tensors = [*packed.parameters(), *packed.buffers()]
    scale_and_bias = 2 * 64 * 4
    assert sum(t.numel() * t.element_size() for t in tensors) == (
        64 * 192 * bits // 8 + scale_and_bias
    )


@pytest.mark.parametrize(('bits', 'bytes_per_weight'), [(3, 0.5), (4, 0.5), (8, 1.0)])
def test_torch_cpu_storage(bits: int, bytes_per_weight: float) -> None:
    packed = PackedLinear.from_linear(layer(64, 192), bits, 'torch_cpu')
    assert packed.packed.numel() == 64 * 192 * bytes_per_weight


@pytest.mark.parametrize('bits', [2, 3, 4, 8])
def test_back_ends_can_be_exchanged(bits: int) -> None:
    packed = PackedLinear.from_linear(layer(33, 47), bits, 'reference')
    rows = packed.packed.clone()
    for name in AT_HAND:
        packed.use(name)
        assert packed.back_end == name
    packed.use('reference')
    assert torch.equal(packed.packed, rows)


@pytest.mark.parametrize('bits', [3, 4, 8])
def test_saved_state_is_portable(bits: int) -> None:
    """The layout of a CPU never reaches a file, so it cannot be misread elsewhere."""
    dense = layer(33, 47)
    for writer in AT_HAND:
        state = PackedLinear.from_linear(dense, bits, writer).state_dict()
        assert torch.equal(state['packed'], pack(quantize(dense.weight, bits).codes, bits))
        for reader in AT_HAND:
            other = PackedLinear.from_linear(layer(33, 47, seed=9), bits, reader)
            other.load_state_dict(state)
            assert torch.equal(other.quantized.codes, quantize(dense.weight, bits).codes)


def test_scales_keep_their_precision_when_the_model_is_cast() -> None:
    packed = PackedLinear.from_linear(layer(16, 32), 4)
    scale = packed.scale.clone()
    packed.to(torch.bfloat16)
    assert packed.scale.dtype == torch.float32
    assert torch.equal(packed.scale, scale)
    assert packed.bias.dtype == torch.bfloat16
    assert packed(inputs(2, 32, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize('back_end', ['cpu', 'torch_cpu'])
def test_another_device_gets_a_back_end_that_serves_there(back_end: str) -> None:
    packed = PackedLinear.from_linear(layer(33, 47), 4, back_end)
    packed.to('meta')  # stands for a GPU: the layout of a CPU means nothing there
    assert packed.back_end == 'reference'
    assert packed.packed.shape == (33, row_bytes(47, 4))
    assert packed.packed.device == packed.scale.device == torch.device('meta')


@pytest.mark.parametrize('back_end', AT_HAND)
def test_gradients_flow_through_to_the_input(back_end: str) -> None:
    """An adapter on a frozen packed base can be trained."""
    dense = layer(9, 40)
    packed = PackedLinear.from_linear(dense, 4, back_end)
    x = inputs(3, 40).requires_grad_()
    packed(x).sum().backward()
    expected = FakeQuantLinear.from_linear(dense, 4).weight.sum(0).expand(3, 40)
    torch.testing.assert_close(x.grad, expected)


def test_lora_wraps_a_packed_layer() -> None:
    peft = pytest.importorskip('peft')
    model = nn.Sequential(PackedLinear.from_linear(layer(8, 32), 4))
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=['0']))
    x = inputs(3, 32)
    torch.testing.assert_close(adapted(x), model[0](x), rtol=0.02, atol=0.02)
    adapted(x).sum().backward()
    trained = [name for name, p in adapted.named_parameters() if p.grad is not None]
    assert trained
    assert all('lora' in name for name in trained)


def test_unaligned_activations_do_not_crash() -> None:
    """Torch's 8-bit product faults on addresses that are no multiple of 32."""
    packed = PackedLinear.from_linear(layer(5, 32, bias=False), 8, 'torch_cpu')
    buffer = inputs(33, dtype=torch.bfloat16)
    with torch.inference_mode():
        assert torch.equal(packed(buffer[1:]), packed(buffer[1:].clone()))


def test_no_rows_give_no_rows() -> None:
    for back_end, bits in SERVED:
        packed = PackedLinear.from_linear(layer(5, 32), bits, back_end)
        assert packed(torch.zeros(2, 0, 32)).shape == (2, 0, 5)


def test_deep_copies_are_independent() -> None:
    packed = PackedLinear.from_linear(layer(5, 32), 4)
    twin = copy.deepcopy(packed)
    twin.packed.zero_()
    assert not torch.equal(twin.packed, packed.packed)


def test_auto_prefers_the_fast_back_end_where_it_serves() -> None:
    assert choose_back_end('auto', LayerShape(4, 4, 4), CPU).name == 'cpu'
    assert choose_back_end('auto', LayerShape(4, 4, 5), CPU).name == 'reference'
    assert choose_back_end('auto', LayerShape(4, 4, 4), torch.device('cuda')).name == 'reference'


def test_unfit_back_ends_are_refused_by_name() -> None:
    with pytest.raises(ProfileError, match=r"no back-end 'fpga'.*torch_cpu"):
        PackedLinear.from_linear(layer(4, 4), 4, 'fpga')
    with pytest.raises(ProfileError, match='has 5'):
        PackedLinear.from_linear(layer(4, 4), 5, 'torch_cpu')


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    rows = torch.zeros(4, row_bytes(8, 4), dtype=torch.uint8)
    with pytest.raises(ProfileError, match='need'):
        PackedLinear(rows, torch.ones(4), None, 9, 4)
    with pytest.raises(ProfileError, match='need'):
        PackedLinear(rows, torch.ones(5), None, 8, 4)
    with pytest.raises(ProfileError, match='positive'):
        PackedLinear(rows, torch.tensor([1.0, 0.0, 1.0, 1.0]), None, 8, 4)
    with pytest.raises(ProfileError, match='bias'):
        PackedLinear(rows, torch.ones(4), torch.ones(3), 8, 4)
    with pytest.raises(ValueError, match='7 features'):
        PackedLinear(rows, torch.ones(4), None, 8, 4)(torch.ones(7))
