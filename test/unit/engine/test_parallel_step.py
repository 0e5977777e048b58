# SPDX-License-Identifier: Apache-2.0
"""The engine's parallel answer is torch's, for every width: OpenVLA-OFT in two native calls."""

from __future__ import annotations

import pytest
import torch
from networks import assert_near, moment, odd_config, packed, random_model
from torch import nn

from sqil_ros.engine.step import Step
from sqil_ros.errors import EngineError
from sqil_ros.policy.openvla.config import OpenVLAConfig, with_l1_head
from sqil_ros.policy.openvla.engine_step import EngineStep, engine_step
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.processor import Batch
from sqil_ros.policy.openvla.random_model import FULL
from sqil_ros.policy.openvla.random_model import random_model as random_network
from sqil_ros.quant.activations import Inputs
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.primitives import WHOLE_ROW, Grid, quantize
from sqil_ros.quant.size import model_bytes

CHUNK = 5
WIDTH = 40  # of the decoder


def config(**changes: object) -> OpenVLAConfig:
    """Two cameras and proprioception; a stop token that is neither the first nor the last."""
    sizes = odd_config(n_images=2, proprio_dim=5)
    return with_l1_head(sizes, **{'chunk': CHUNK, 'stop_token': 7, **changes})


def plan(step: EngineStep, batch: Batch) -> torch.Tensor:
    step.make_room(batch.tokens.shape[1])
    step.see(batch.pixels[0], None if batch.proprio is None else batch.proprio[0])
    return step.plan(batch.tokens[0])


@torch.inference_mode()
def assert_same(model: OpenVLA, step: EngineStep, batch: Batch, tolerance: float = 1e-4) -> None:
    found, insight = plan(step, batch), step.insight()
    features = model.patch_features(batch.pixels)
    inputs, _ = model.embed(batch, features)
    assert_near(insight.seen, inputs[0, 1 : 1 + len(insight.seen)], tolerance)
    assert_near(insight.states, model.chunk_states(batch, features)[0], tolerance)
    expected = model.predict_chunk(batch, features)[0]
    assert found.shape == expected.shape == (model.config.chunk, 7)
    assert_near(found, expected, tolerance)
    assert insight.logits.numel() == 0


@pytest.mark.parametrize('threads', [1, 2])
def test_on_every_level_and_number_of_threads(each_level: str, threads: int) -> None:
    torch.set_num_threads(threads)
    model = random_model(config())
    step = EngineStep(model)
    for seed in range(3):
        assert_same(model, step, moment(model.config, seed, words=1 + 7 * seed))


@pytest.mark.parametrize(
    'grid', [Grid(8), Grid(4), Grid(3, WHOLE_ROW, False), Grid(2), Grid(5, WHOLE_ROW), Grid(4, 1)]
)
def test_packed_weights(grid: Grid) -> None:
    model = packed(random_model(config()), grid)
    step = EngineStep(model)
    for seed in range(5):
        assert_same(model, step, moment(model.config, seed, words=3 + seed))


def test_one_layer_s_keys_and_values_are_kept_at_a_time() -> None:
    def room(layers: int) -> int:
        sizes = config()
        sizes.text['num_hidden_layers'] = layers
        step = EngineStep(random_model(sizes))
        small = step.bytes
        step.make_room(1000)
        return step.bytes - small

    assert room(1) == room(4)


@pytest.mark.parametrize('prompt_only', [False, True])
@pytest.mark.parametrize('bits', [8, 4])
def test_rounded_activations(bits: int, prompt_only: bool) -> None:
    """No token comes alone here: `prompt_only` rounds everything."""
    model = packed(random_model(config()), Grid(4), Inputs(bits, None, prompt_only))
    step = EngineStep(model)
    for seed in range(3):
        assert_same(model, step, moment(model.config, seed), tolerance=0.05)


def test_a_packed_head_of_one_action_rounds_inputs_of_prompts_as_torch_does() -> None:
    model = random_model(config(chunk=1))
    assert model.action_head is not None
    layer = model.action_head.fc1
    model.action_head.fc1 = PackedLinear.from_quantized(
        quantize(layer.weight, Grid(8)), layer.bias, inputs=Inputs(4, prompt_only=True)
    )
    assert_same(model, EngineStep(model), moment(model.config, 0))


@pytest.mark.parametrize(
    'changes', [{'chunk': 1}, {'chunk': 25}, {'n_images': 1, 'proprio_dim': 0}, {'patch_merge': 3}]
)
def test_other_chunks_cameras_and_sequences(changes: dict[str, object]) -> None:
    model = random_model(config(**changes))
    assert_same(model, EngineStep(model), moment(model.config, 0))


def test_nothing_of_an_earlier_answer_is_left() -> None:
    """The room grows, too, with the longest prompt."""
    model = random_model(config())
    step = EngineStep(model)
    batch = moment(model.config, 0, words=10)
    first, states = plan(step, batch), step.insight().states
    assert_same(model, step, moment(model.config, 1, words=150))
    assert torch.equal(plan(step, batch), first)
    assert torch.equal(step.insight().states, states)


@pytest.mark.parametrize('bits', [FULL, 4])
def test_what_the_engine_has_copied_can_be_let_go(bits: int) -> None:
    model = random_network(config(), bits)
    whole = model_bytes(model)
    batch = moment(model.config, seed=4)
    before = plan(EngineStep(model), batch)
    step = EngineStep(model, take=True)
    assert model.action_head is not None
    assert model.action_head.fc1.weight.numel() == 0
    assert model_bytes(model).weights + step.released == whole.weights
    assert torch.equal(plan(step, batch), before)


def test_each_kind_of_policy_is_asked_in_its_own_way() -> None:
    batch = moment(config(), 0)
    parallel = EngineStep(random_model(config()))
    with pytest.raises(EngineError, match='plan'):
        parallel.decode(batch.tokens[0])
    one_by_one = EngineStep(random_model(odd_config()))
    with pytest.raises(EngineError, match='decode'):
        one_by_one.plan(batch.tokens[0])


def test_the_places_of_the_answer_need_room_too() -> None:
    whole = EngineStep(random_model(config()))  # holds what its step borrows
    step: Step = whole._step
    with pytest.raises(EngineError, match=f'1 to {step.room} fit'):
        step.plan(torch.zeros(step.room + 1, WIDTH))
    with pytest.raises(EngineError, match='40 wide'):
        step.plan(torch.zeros(step.room, WIDTH + 1))
    step.plan(torch.zeros(step.room, WIDTH))


def test_a_head_of_other_layers_is_left_to_torch() -> None:
    class Doubled(nn.Linear):
        pass

    model = random_model(config())
    assert model.action_head is not None
    model.action_head.fc2 = Doubled(40, 7)
    assert engine_step(model) is None
