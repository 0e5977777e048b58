# SPDX-License-Identifier: Apache-2.0
"""The control step of the engine says what the torch model says, for every profile."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from networks import assert_near, moment, odd_config, packed, random_model
from torch import Tensor, nn

from sqil_ros.engine.library import choose_level
from sqil_ros.errors import EngineError, ParameterError
from sqil_ros.policy.openvla.checkpoint import load_model
from sqil_ros.policy.openvla.config import tiny
from sqil_ros.policy.openvla.decoding import PreparedDecoder
from sqil_ros.policy.openvla.engine_step import EngineStep, engine_step
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.processor import Batch
from sqil_ros.policy.openvla.random_model import FULL, openvla_7b
from sqil_ros.policy.openvla.random_model import random_model as random_network
from sqil_ros.quant.activations import Inputs
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.mixed_linear import MixedLinear
from sqil_ros.quant.mixed_rows import ROW_WIDTHS, quantize_rows
from sqil_ros.quant.primitives import WHOLE_ROW, Grid
from sqil_ros.quant.profile import apply_profile
from sqil_ros.quant.selection import select_layers
from sqil_ros.quant.size import model_bytes, packed_layers

CHECKPOINT = Path(__file__).resolve().parents[3] / 'models' / 'toy_sink_openvla'
WIDTHS = ['fp', 'int8', 'int4', 'int3', 'int2']


# Chances closer than this may be told apart differently by two orders of float32 sums.
CLOSE = 1e-4


def answer(step: EngineStep, batch: Batch) -> Tensor:
    """(7,) tokens of the engine."""
    step.make_room(batch.tokens.shape[1])
    step.see(batch.pixels[0], None if batch.proprio is None else batch.proprio[0])
    return step.decode(batch.tokens[0])


@torch.inference_mode()
def said_to(
    model: OpenVLA, batch: Batch, features: Tensor, answer: Tensor
) -> tuple[Tensor, Tensor]:
    """States and logits of torch, token by token, as if it had chosen ``answer``."""
    seen: list[tuple[Tensor, Tensor]] = []

    def action_logits(states: Tensor) -> Tensor:
        seen.append((states[0], OpenVLA.action_logits(model, states)[0]))
        return seen[-1][1][None]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, 'action_logits', action_logits)
        patch.setattr(model, 'choose_tokens', lambda _: answer[len(seen) - 1][None])
        model.predict_tokens(batch, features)
    states, logits = zip(*seen, strict=True)
    return torch.stack(states), torch.stack(logits)


def assert_same(model: OpenVLA, step: EngineStep, batch: Batch, tolerance: float = 1e-4) -> None:
    """The engine says what torch says, and all that led to it agrees to ``tolerance``.

    Another token is allowed where torch itself could hardly choose; behind it nothing can be
    compared any more.
    """
    found = answer(step, batch)
    insight = step.insight()
    features = model.patch_features(batch.pixels)
    inputs, _ = model.embed(batch, features)
    assert_near(insight.seen, inputs[0, 1 : 1 + len(insight.seen)], tolerance)
    expected = model.predict_tokens(batch, features)[0]
    states, logits = said_to(model, batch, features, found)
    same = int((found == expected).cumprod(0).sum())
    assert_near(insight.states, states, tolerance)
    assert_near(insight.logits, logits, tolerance)
    if same < len(found):
        first = model.config.text_vocab_size - 1
        bins = first - int(found[same]), first - int(expected[same])
        assert indecision(model, logits[same], *bins) < CLOSE, (found, expected)


def indecision(model: OpenVLA, logits: Tensor, one: int, other: int) -> float:
    """How much probability would have to move for the other bin to be chosen."""
    chances = logits.double().softmax(-1)
    if model.config.bin_choice == 'argmax':
        return float((chances[one] - chances[other]).abs())
    until = chances.cumsum(-1)[min(one, other) : max(one, other)]
    return float((until - 0.5).abs().max())


def trained(width: str) -> OpenVLA:
    """The committed policy: its own profile, or rounded here where it has none."""
    model = load_model(CHECKPOINT).requires_grad_(False)
    profile = CHECKPOINT / 'profiles' / f'{width}_rtn'
    if profile.is_dir():
        apply_profile(model, profile)
    elif width != 'fp':
        packed(model, Grid(int(width.removeprefix('int'))))
    return model


@pytest.mark.parametrize('width', WIDTHS)
def test_a_trained_policy_acts_the_same(width: str) -> None:
    model = trained(width)
    step = EngineStep(model)
    for seed in range(25):
        assert_same(model, step, moment(model.config, seed, words=5 + seed))


@pytest.mark.parametrize('threads', [1, 2])
def test_on_every_level_and_number_of_threads(each_level: str, threads: int) -> None:
    torch.set_num_threads(threads)
    model = trained('int4')
    step = EngineStep(model)
    assert step.name == f'engine/{each_level}'
    for seed in range(4):
        assert_same(model, step, moment(model.config, seed))


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'n_images': 2, 'proprio_dim': 5},
        {'bin_choice': 'median'},
        {'patch_merge': 3, 'n_images': 3},
    ],
)
def test_odd_shapes(each_level: str, changes: dict[str, object]) -> None:
    model = random_model(odd_config(**changes))
    step = EngineStep(model)
    for seed in range(3):
        assert_same(model, step, moment(model.config, seed, words=1 + 7 * seed))


@pytest.mark.parametrize(
    'grid', [Grid(3, WHOLE_ROW, False), Grid(2, WHOLE_ROW), Grid(5, WHOLE_ROW), Grid(4, 1)]
)
def test_grids_that_are_packed_and_grids_that_are_not(grid: Grid) -> None:
    """Groups of one input and five bits run from full weights in the engine."""
    model = packed(random_model(odd_config()), grid)
    assert_same(model, EngineStep(model), moment(model.config, 1))


@pytest.mark.parametrize('prompt_only', [False, True])
@pytest.mark.parametrize('step', [None, 0.05])
@pytest.mark.parametrize('bits', [8, 4])
def test_rounded_activations(bits: int, step: float | None, prompt_only: bool) -> None:
    """A rounded input can fall to the other side of a tie, so hidden states agree less closely."""
    static = None if step is None else torch.tensor(step)
    model = packed(random_model(odd_config()), Grid(4), Inputs(bits, static, prompt_only))
    engine = EngineStep(model)
    for seed in range(5):
        assert_same(model, engine, moment(model.config, seed), tolerance=0.05)


@pytest.mark.parametrize('inputs', [None, Inputs(8), Inputs(8, prompt_only=True)])
def test_layers_whose_rows_have_widths_of_their_own(inputs: Inputs | None) -> None:
    model = random_model(odd_config())
    for index, name in enumerate(n for names in select_layers(model).values() for n in names):
        parent, _, child = name.rpartition('.')
        old = model.get_submodule(name)
        assert isinstance(old, nn.Linear)
        chance = torch.Generator().manual_seed(index)
        widths = torch.tensor(ROW_WIDTHS)[torch.randint(6, (old.out_features,), generator=chance)]
        layer = MixedLinear(quantize_rows(old.weight, widths), old.bias, inputs=inputs)
        setattr(model.get_submodule(parent), child, layer)
    engine = EngineStep(model)
    for seed in range(5):
        assert_same(model, engine, moment(model.config, seed), 1e-4 if inputs is None else 0.05)


def test_another_back_end_of_the_model_changes_nothing() -> None:
    models = [
        packed(random_model(odd_config()), Grid(4), back_end=b) for b in ('cpu', 'reference')
    ]
    batch = moment(models[0].config, 0)
    one, other = (answer(EngineStep(model), batch) for model in models)
    assert torch.equal(one, other)


def test_packed_weights_are_shared() -> None:
    model, twin = trained('int4'), trained('int4')
    for layer in twin.modules():
        if isinstance(layer, PackedLinear):
            layer.use('reference')
    assert EngineStep(model).bytes < EngineStep(twin).bytes


def test_the_same_moment_gets_the_same_answer() -> None:
    """Nothing of an earlier step is left, not even of a longer prompt."""
    model = random_model(odd_config())
    step = EngineStep(model)
    batch = moment(model.config, 0, words=10)
    first, states = answer(step, batch), step.insight()
    answer(step, moment(model.config, 1, words=60))
    assert torch.equal(answer(step, batch), first)
    assert all(map(torch.equal, step.insight(), states))


def test_room_grows_with_the_prompt() -> None:
    model = random_model(odd_config())
    step = EngineStep(model)
    assert_same(model, step, moment(model.config, 0, words=150))


def test_bad_input_is_refused_by_name() -> None:
    model = random_model(odd_config())
    step, batch = EngineStep(model), moment(model.config, 0)
    with pytest.raises(EngineError, match='the policy takes'):
        step.see(batch.pixels[0, :, :3], None)
    with pytest.raises(EngineError, match='the policy takes'):
        step.see(batch.pixels[0], torch.zeros(5))
    step.see(batch.pixels[0], None)
    with pytest.raises(EngineError, match='0 tokens'):
        step.decode(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(EngineError, match='5000 tokens'):
        step.decode(torch.zeros(5000, dtype=torch.int64))
    with pytest.raises(EngineError, match='330'):
        step.decode(torch.full((3,), 330))
    with pytest.raises(EngineError, match='-1'):
        step.decode(torch.full((3,), -1))


def test_what_the_engine_lacks_is_left_to_torch(caplog: pytest.LogCaptureFixture) -> None:
    model = random_model(odd_config()).to(torch.float16)
    assert engine_step(model) is None
    assert 'float16' in caplog.text
    hooked = random_model(odd_config())
    hooked.dino.encoder.layer[0].register_forward_pre_hook(lambda module, arguments: None)
    with pytest.raises(EngineError, match=r'hooks.*dino\.encoder\.layer\.0'):
        EngineStep(hooked)


@pytest.mark.parametrize('bits', [FULL, 4])
def test_a_model_in_bfloat16_keeps_keys_and_values_in_it(
    each_level: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PreparedDecoder._store

    def rounded(
        prepared: PreparedDecoder, index: int, start: int, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        return store(prepared, index, start, key.bfloat16().float(), value.bfloat16().float())

    model = random_network(odd_config(), bits)
    step, whole = EngineStep(model), deepcopy(model).float()
    monkeypatch.setattr(PreparedDecoder, '_store', rounded)
    # A sum in another order may fall to the other side of a tie. Where the processor multiplies
    # bfloat16, inputs of products are rounded to it, as torch rounds them.
    tolerance = 3e-2 if each_level == 'avx512bf16' else 3e-4
    assert_same(whole, step, moment(model.config, seed=3, words=220), tolerance)


def test_keys_and_values_of_a_model_in_bfloat16_take_half_the_memory() -> None:
    model = random_model(tiny())
    text = model.config.text_config()
    token = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim

    def room(model: OpenVLA) -> int:
        step = EngineStep(model)
        small = step.bytes
        step.make_room(10_000)
        return step.bytes - small

    saved = room(model) - room(deepcopy(model).bfloat16())
    assert saved == pytest.approx(2 * token * 10_000, rel=0.01)


def test_what_the_engine_has_copied_can_be_let_go() -> None:
    model = random_network(odd_config(), 4)
    whole = model_bytes(model)
    batch = moment(model.config, seed=4)
    before = answer(EngineStep(model), batch)
    step = EngineStep(model, take=True)
    left = model_bytes(model)
    assert left.total < whole.total and left.packed == whole.packed
    assert left.weights + step.released == whole.weights
    step.make_room(500)
    assert torch.equal(answer(step, batch), before)
    with pytest.raises(RuntimeError):
        model.patch_features(batch.pixels)


def test_random_networks_are_as_large_as_they_say() -> None:
    model = random_network(odd_config(), 3)
    layers = [name for names in select_layers(model).values() for name in names]
    assert set(packed_layers(model)) == set(layers)
    assert all(layer.bits == 3 for layer in packed_layers(model).values())
    config = openvla_7b()
    with torch.device('meta'):
        count = sum(p.numel() for p in OpenVLA(config).parameters())
    assert count == pytest.approx(7.5e9, rel=0.01), 'openvla-7b has 7.5 thousand million'


def test_torch_can_be_asked_for() -> None:
    assert engine_step(random_model(odd_config()), 'torch') is None
    with pytest.raises(ParameterError, match="'fpga'"):
        engine_step(random_model(odd_config()), 'fpga')


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(EngineError, match="'sse9'"):
        choose_level('sse9')
