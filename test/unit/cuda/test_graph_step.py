# SPDX-License-Identifier: Apache-2.0
"""The step that a CUDA graph captures says what the model says; on a CPU it is run as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sqil_ros.contract import Contract
from sqil_ros.errors import EngineError, ParameterError
from sqil_ros.policy.loader import load_policy
from sqil_ros.policy.openvla.config import L1, OpenVLAConfig
from sqil_ros.policy.openvla.gpu import check_gpu, in_half_precision, named_gpu_errors
from sqil_ros.policy.openvla.graph_step import BUCKET, GraphStep
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.processor import Batch
from sqil_ros.quant.activations import Inputs
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.mixed_linear import MixedLinear
from sqil_ros.quant.mixed_rows import ROW_WIDTHS, quantize_rows
from sqil_ros.quant.primitives import quantize
from sqil_ros.quant.selection import select_layers
from sqil_ros.quant.size import model_bytes
from sqil_ros.quant.swap import FAILED, ProfileSlot
from sqil_ros.types import Observation


def model(seed: int = 0, **changes: object) -> OpenVLA:
    encoder = {
        'hidden_size': 16, 'num_hidden_layers': 1, 'num_attention_heads': 2, 'image_size': 32,
        'patch_size': 8, 'initializer_range': 0.2,
    }  # fmt: skip
    config = OpenVLAConfig(
        dino={**encoder, 'mlp_ratio': 2, 'num_register_tokens': 1},
        siglip={
            **{k: v for k, v in encoder.items() if k != 'initializer_range'},
            'intermediate_size': 32,
        },
        text={
            'vocab_size': 352, 'hidden_size': 32, 'intermediate_size': 48, 'num_hidden_layers': 2,
            'num_attention_heads': 4, 'num_key_value_heads': 2, 'max_position_embeddings': 256,
            'initializer_range': 0.3,
        },
        text_vocab_size=320, n_action_bins=64, projector_hidden=24,
        **{'n_images': 2, 'proprio_dim': 5, 'patch_merge': 2, **changes},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return OpenVLA(config).eval()


def moment(network: OpenVLA, seed: int, words: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    config, side = network.config, network.config.image_size
    pixels = torch.randn(1, config.n_images, 6, side, side, generator=generator)
    tokens = torch.randint(0, config.text_vocab_size, (1, words), generator=generator)
    proprio = (
        torch.rand(1, config.proprio_dim, generator=generator) if config.proprio_dim else None
    )
    return Batch(pixels, tokens, torch.ones_like(tokens), proprio)


def halved(batch: Batch) -> Batch:
    return batch.to('cpu', torch.bfloat16)


def assert_same(network: OpenVLA, step: GraphStep, batch: Batch) -> None:
    step.make_room(batch.tokens.shape[1])
    step.see(batch.pixels[0], None if batch.proprio is None else batch.proprio[0])
    with torch.inference_mode():
        expected = network.predict_tokens(batch, network.patch_features(batch.pixels))
    assert torch.equal(step.decode(batch.tokens[0]), expected[0])


def test_a_packed_projector_does_not_decide_what_the_rest_computes_in() -> None:
    network = model(bin_choice='argmax')
    in_half_precision(network)
    for name in ('fc1', 'fc2', 'fc3'):
        layer = PackedLinear.from_linear(getattr(network.projector, name).float(), 8)
        setattr(network.projector, name, layer)
    assert_same(network, GraphStep(network, fused=False), halved(moment(network, 4, 9)))


@pytest.mark.parametrize('words', [1, 7, BUCKET, BUCKET + 1])
@pytest.mark.parametrize('bits', [None, 4])
def test_the_same_chunk_padded_or_not(words: int, bits: int | None) -> None:
    network = model(head=L1, chunk=3)
    for name in select_layers(network)['language'] if bits else ():
        parent, _, child = name.rpartition('.')
        layer = PackedLinear.from_linear(network.get_submodule(name), bits)
        setattr(network.get_submodule(parent), child, layer)
    step, batch = GraphStep(network, fused=True), moment(network, 3, words)
    step.make_room(words)
    step.see(batch.pixels[0], batch.proprio[0])
    with torch.inference_mode():
        expected = network.predict_chunk(batch, network.patch_features(batch.pixels))
    assert step.plan(batch.tokens[0]).shape == (3, 7)
    torch.testing.assert_close(step.plan(batch.tokens[0]), expected[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(EngineError, match='plan'):
        step.decode(batch.tokens[0])
    with pytest.raises(EngineError, match='decode'):
        GraphStep(model()).plan(batch.tokens[0])


@pytest.mark.parametrize('words', [1, 7, BUCKET, BUCKET + 1])
@pytest.mark.parametrize('choice', ['argmax', 'median'])
def test_the_same_tokens_padded_or_not(words: int, choice: str) -> None:
    network = model(bin_choice=choice)
    step = GraphStep(network)
    for seed in range(6):
        assert_same(network, step, moment(network, seed, words))


def test_one_camera_without_proprioception() -> None:
    network = model(1, n_images=1, proprio_dim=0, patch_merge=1)
    assert_same(network, GraphStep(network), moment(network, 0, 9))


def test_nothing_of_a_longer_prompt_is_left() -> None:
    network = model()
    step = GraphStep(network)
    for words in (30, 3, 60, 5):
        assert_same(network, step, moment(network, words, words))


@pytest.mark.parametrize('inputs', [None, Inputs(8), Inputs(8, prompt_only=True)])
def test_packed_layers_and_rows_of_their_own_widths(inputs: Inputs | None) -> None:
    network = model()
    for index, name in enumerate(n for names in select_layers(network).values() for n in names):
        old = network.get_submodule(name)
        assert isinstance(old, nn.Linear)
        new: nn.Module = PackedLinear.from_quantized(
            quantize(old.weight, (2, 3, 4, 8)[index % 4]), old.bias, inputs=inputs
        )
        if index % 5 == 0:
            widths = torch.tensor(ROW_WIDTHS)[torch.arange(old.out_features) % 6]
            new = MixedLinear(quantize_rows(old.weight, widths), old.bias, inputs=inputs)
        network.set_submodule(name, new)
    step = GraphStep(network)
    for seed in range(4):
        assert_same(network, step, moment(network, seed, 11))


def test_the_kernels_of_the_gpu_give_the_same_tokens(device: torch.device) -> None:
    """In float32 nothing but the order of sums differs."""
    network = model(2, n_images=1, proprio_dim=0)
    first = network.language_model.model.layers[0]
    for parent, name in ((first.self_attn, 'o_proj'), (first.mlp, 'down_proj')):
        old = getattr(parent, name)
        layer = PackedLinear.from_quantized(quantize(old.weight, 4), old.bias, 'reference')
        setattr(parent, name, layer)
    batch = moment(network, 0, 5)
    with torch.inference_mode():
        expected = network.predict_tokens(batch, network.patch_features(batch.pixels))
    network.to(device)
    for module in network.modules():
        if isinstance(module, PackedLinear):
            module.use('cuda')
    step = GraphStep(network)
    assert step.name.endswith('/cuda')
    step.see(batch.pixels[0], None)
    assert torch.equal(step.decode(batch.tokens[0]), expected[0])


@pytest.mark.parametrize('packed', [False, True])
def test_the_fused_decoder_gives_the_same_tokens(device: torch.device, packed: bool) -> None:
    """Padded prompts, heads that share keys, joined layers that are held once."""
    network = model(3, n_images=1, proprio_dim=0)
    batch = moment(network, 1, 6)
    decoder = network.language_model.model
    if packed:
        attention = decoder.layers[0].self_attn
        for name in ('q_proj', 'k_proj', 'v_proj'):
            layer = PackedLinear.from_linear(getattr(attention, name), 4, 'reference')
            setattr(attention, name, layer)
    with torch.inference_mode():
        expected = network.predict_tokens(batch, network.patch_features(batch.pixels))
    network.to(device)
    for module in network.modules():
        if isinstance(module, PackedLinear):
            module.use('cuda')
    size = model_bytes(network).total
    step = GraphStep(network, fused=True)
    assert model_bytes(network).total == size
    up, gate = decoder.layers[0].mlp.up_proj, decoder.layers[0].mlp.gate_proj
    assert up.weight.data_ptr() == gate.weight.data_ptr() + 4 * gate.weight.numel()
    step.see(batch.pixels[0], None)
    assert torch.equal(step.decode(batch.tokens[0]), expected[0])
    with torch.inference_mode():
        on_device = batch.to(device, torch.float32)
        features = network.patch_features(on_device.pixels)
        again = network.predict_tokens(on_device, features)
    assert torch.equal(again.cpu(), expected)


def test_a_policy_acts_through_the_step(policy: OpenVLAPolicy, observation: Observation) -> None:
    step = GraphStep(policy.model)
    graph = OpenVLAPolicy(
        policy.model, policy.processor, policy._actions, 'fp', 'random', step=step
    )
    plain = OpenVLAPolicy(policy.model, policy.processor, policy._actions, 'fp', 'random')
    assert np.array_equal(graph.act(observation).actions, plain.act(observation).actions)
    assert graph.describe().back_end == 'static/torch'
    assert graph.describe().weight_bytes == plain.describe().weight_bytes + step.bytes


def test_the_head_shrinks_to_the_rows_of_actions() -> None:
    network, twin = model(), model()
    step, batch = GraphStep(network, take=True), moment(twin, 0, 9)
    assert step.released == 352 * 32
    step.see(batch.pixels[0], batch.proprio[0] if batch.proprio is not None else None)
    with torch.inference_mode():
        expected = twin.predict_tokens(batch, twin.patch_features(batch.pixels))
        assert torch.equal(step.decode(batch.tokens[0]), expected[0])
        with pytest.raises(RuntimeError):
            network.predict_tokens(batch, twin.patch_features(batch.pixels))


def test_half_precision_keeps_what_must_not_be_rounded() -> None:
    network = model()
    name = next(n for names in select_layers(network).values() for n in names)
    old = network.get_submodule(name)
    assert isinstance(old, nn.Linear)
    packed = PackedLinear.from_quantized(quantize(old.weight, 4))
    network.set_submodule(name, packed)
    turns = network.language_model.model.rotary_emb.inv_freq.clone()
    in_half_precision(network)
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    assert torch.equal(network.language_model.model.rotary_emb.inv_freq, turns)
    assert packed.scale.dtype == torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU is there')
def test_a_gpu_that_is_not_there_has_a_name(checkpoint: Path) -> None:
    with pytest.raises(EngineError, match='use the device cpu'):
        load_policy(checkpoint, 'fp', Contract.load(), device='cuda')
    with pytest.raises(ParameterError, match="'fpga'"):
        load_policy(checkpoint, 'fp', Contract.load(), device='cuda', engine='fpga')


def test_no_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    check_gpu(torch.device('cuda'))
    with pytest.raises(EngineError, match='finds 1 NVIDIA GPUs, cuda:1 is not'):
        check_gpu(torch.device('cuda:1'))


@pytest.mark.parametrize(
    ('raised', 'said'),
    [
        (torch.OutOfMemoryError('tried to allocate 9 GiB'), 'memory of cuda does not suffice'),
        (
            torch.AcceleratorError('CUDA error: device lost'),
            'cuda failed: CUDA error: device lost',
        ),
    ],
)
def test_what_a_gpu_raises_has_a_name(
    policy: OpenVLAPolicy, monkeypatch: pytest.MonkeyPatch, raised: Exception, said: str
) -> None:
    def fail() -> None:
        raise raised

    with pytest.raises(EngineError, match=said), named_gpu_errors(torch.device('cuda')):
        fail()
    step = GraphStep(policy.model)
    monkeypatch.setattr(step, 'replay', fail)
    with pytest.raises(EngineError, match=said.replace('cuda', 'cpu', 1)):
        step.decode(torch.tensor([1, 2]))


def test_a_gpu_that_fails_leaves_the_profile_that_acts() -> None:
    def load(name: str, obsolete: object) -> str:
        with named_gpu_errors(torch.device('cuda')):
            raise torch.OutOfMemoryError('tried to allocate 9 GiB')

    slot = ProfileSlot('int4_rtn', 'old', validate=lambda name: None, load=load)
    slot.request('fp')
    status = slot.wait(5.0)
    assert (status.state, status.active, slot.take()) == (FAILED, 'int4_rtn', 'old')
    assert 'memory of cuda does not suffice' in status.message
    slot.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='a CUDA graph needs a GPU')
def test_the_graph_answers_as_the_step_does() -> None:
    network = model().to('cuda')
    step = GraphStep(network)
    assert step.name.startswith('graph/')
    for words in (5, 20, 40):
        batch = moment(network, words, words).to('cuda', torch.float32)
        assert_same(network, step, Batch(*(t for t in vars(batch).values())))
