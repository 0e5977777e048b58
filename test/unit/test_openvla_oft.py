# SPDX-License-Identifier: Apache-2.0
"""OpenVLA-OFT on a tiny network: parallel decoding, the regression head, chunks of actions."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import moment, odd_config, random_model
from sqil_training.finetune.student import load_teacher
from sqil_training.quantize import main as quantize

from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError, ParameterError
from sqil_ros.policy.loader import load_policy
from sqil_ros.policy.openvla.checkpoint import save_checkpoint
from sqil_ros.policy.openvla.config import OpenVLAConfig, with_l1_head
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.parallel import answering, everyone_sees, with_places
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.processor import Batch
from sqil_ros.policy.openvla.statistics import dataset_statistics, read_normalizer
from sqil_ros.policy.openvla.teacher import OpenVLATeacher
from sqil_ros.policy.openvla.tokenizer import train_tokenizer
from sqil_ros.quant.profile import read_profile
from sqil_ros.quant.selection import select_groups, select_layers
from sqil_ros.types import Observation

CONTRACT = Contract.load()
CHUNK = 3
SIZE = 42


@pytest.fixture(scope='module')
def model() -> OpenVLA:
    sizes = odd_config(n_images=2, proprio_dim=14)
    text = sizes.text | {'vocab_size': 832}
    return random_model(
        with_l1_head(sizes, CHUNK, stop_token=1, text=text, text_vocab_size=768, n_action_bins=256)
    )


@pytest.fixture(scope='module')
def checkpoint(model: OpenVLA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp('oft')
    rng = np.random.default_rng(0)
    statistics = dataset_statistics('d', rng.normal(size=(50, 7)), rng.normal(size=(50, 14)), 1)
    save_checkpoint(directory, model, train_tokenizer(), statistics, CONTRACT, 'openvla-oft-tiny')
    return directory


@pytest.fixture
def observation() -> Observation:
    rng = np.random.default_rng(3)
    images = tuple(rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8) for _ in range(2))
    return Observation(images, rng.normal(size=7), rng.normal(size=7), 'lift the eggplant')


def loaded(checkpoint: Path, profile: str = 'fp', engine: str = 'auto') -> OpenVLAPolicy:
    policy = load_policy(checkpoint, profile, CONTRACT, engine=engine)
    assert isinstance(policy, OpenVLAPolicy)
    return policy


# ---- the sequence -------------------------------------------------------------------------


def test_places_stand_between_the_prompt_and_the_stop_token() -> None:
    prompt, stop = torch.ones(2, 4, 3), torch.full((3,), 9.0)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    inputs, whole = with_places(prompt, mask, 5, stop)
    assert inputs[0, :, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 9]
    assert whole.tolist() == [[1] * 10, [1, 1, 0, 0, 1, 1, 1, 1, 1, 1]]
    seen = everyone_sees(whole)
    assert seen.shape == (2, 1, 10, 10) and seen[0].all()
    assert torch.equal(seen[1, 0], whole[1].bool().expand(10, -1))


def test_answers_are_read_one_position_early() -> None:
    """The prompt's last token, then all places but the last; the stop token is not read."""
    states = torch.arange(10.0).view(1, 10, 1).expand(2, 10, 3)
    mask = torch.tensor([[1] * 10, [1, 1, 0, 0, 1, 1, 1, 1, 1, 1]])
    found = answering(states, mask, 5)
    assert found[:, :, 0].tolist() == [[3, 4, 5, 6, 7], [1, 4, 5, 6, 7]]


def test_the_last_token_reaches_the_first_state(model: OpenVLA) -> None:
    """The stop token stands behind everything, so a causal mask would hide it."""
    batch = moment(model.config, 0)
    with torch.no_grad():
        features = model.patch_features(batch.pixels)
        before = model.chunk_states(batch, features)
        embedding = model.language_model.get_input_embeddings().weight
        kept = embedding[1].clone()
        embedding[1] += 1.0
        after = model.chunk_states(batch, features)
        embedding[1] = kept
    assert (after - before).abs().amax(dim=-1).min() > 1e-4


def test_padding_a_prompt_changes_nothing(model: OpenVLA) -> None:
    batch = moment(model.config, 0, words=9)
    tokens = torch.cat([batch.tokens, torch.full((1, 6), 5)], dim=1)
    mask = torch.cat([batch.mask, torch.zeros(1, 6, dtype=torch.long)], dim=1)
    padded = dataclasses.replace(batch, tokens=tokens, mask=mask)
    with torch.no_grad():
        features = model.patch_features(batch.pixels)
        one, two = (model.predict_chunk(b, features) for b in (batch, padded))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_every_input_reaches_every_action(model: OpenVLA) -> None:
    batch = moment(model.config, 0)
    assert batch.proprio is not None

    def chunk(b: Batch) -> torch.Tensor:
        with torch.no_grad():
            return model.predict_chunk(b, model.patch_features(b.pixels))[0]

    wrist = batch.pixels.clone()
    wrist[:, 1] = 0.0
    for changed in (
        dataclasses.replace(batch, pixels=wrist),
        dataclasses.replace(batch, tokens=batch.tokens.flip(1)),
        dataclasses.replace(batch, proprio=batch.proprio + 1.0),
    ):
        assert (chunk(changed) - chunk(batch)).abs().amax(dim=1).min() > 1e-4


def test_an_action_is_read_from_its_own_seven_states(model: OpenVLA) -> None:
    assert model.action_head is not None
    states = torch.randn(1, 7 * CHUNK, 40)
    before = model.action_head(states)
    states[:, 7:14] += 1.0
    same = (model.action_head(states) == before).all(dim=-1)[0]
    assert same.tolist() == [True, False, True]


# ---- configuration ------------------------------------------------------------------------


@pytest.mark.parametrize('fields, words', [
    ({'head': 'diffusion'}, "'diffusion'"),
    ({'head': 'tokens', 'chunk': 8}, 'chunk is 8'),
    ({'head': 'l1', 'chunk': 0}, 'chunk is 0'),
])  # fmt: skip
def test_a_head_that_does_not_exist_is_refused(fields: dict, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        OpenVLAConfig(**fields)


def test_a_stop_token_that_does_not_exist_is_refused(model: OpenVLA) -> None:
    config = with_l1_head(odd_config(), 2, stop_token=330)
    with pytest.raises(CheckpointError, match=r'stop_token is 330.* 0 to 329'):
        OpenVLA(config)


# ---- the policy ---------------------------------------------------------------------------


@pytest.mark.parametrize('engine', ['auto', 'torch'])
def test_a_checkpoint_answers_with_chunks_in_physical_units(
    model: OpenVLA, checkpoint: Path, observation: Observation, engine: str
) -> None:
    policy = loaded(checkpoint, engine=engine)
    found = policy.act(observation)
    assert found.actions.shape == (CHUNK, 7)
    assert policy.describe().name == 'openvla-oft-tiny'
    batch = policy.processor([observation])
    with torch.no_grad():
        normalized = policy.model.predict_chunk(batch, policy.model.patch_features(batch.pixels))
    expected = read_normalizer(checkpoint, 'd', 'action').denormalize(normalized[0].numpy())
    np.testing.assert_allclose(found.actions[:, :6], expected[:, :6], atol=1e-4)
    np.testing.assert_allclose(found.actions[:, 6], expected[:, 6].clip(0, 1), atol=1e-4)
    np.testing.assert_array_equal(policy.act_batch([observation])[0], found.actions[0])


def test_profiles_keep_the_head_and_the_projectors(
    checkpoint: Path, observation: Observation, tmp_path: Path
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / 'copy')
    assert quantize(['--checkpoint', str(copy), '--bits', '8', '3']) == 0
    full = loaded(checkpoint).act(observation).actions
    errors = {}
    for name in ('int8_rtn', 'int3_rtn'):
        policy = loaded(copy, name)
        head = policy.model.action_head
        assert head is not None and type(head.fc1) is type(head.fc2) is torch.nn.Linear
        errors[name] = np.abs(policy.act(observation).actions - full).mean()
    assert 0.0 < errors['int8_rtn'] < errors['int3_rtn']


@pytest.mark.parametrize('method', ['awq', 'gptq', 'smoothquant'])
def test_methods_that_see_data_see_chunks(
    checkpoint: Path, observation: Observation, data: Path, tmp_path: Path, method: str
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / 'copy')
    words = ['--checkpoint', str(copy), '--bits', '4', '--method', method, '--samples', '6']
    assert quantize([*words, '--calibration', str(data)]) == 0
    measured = read_profile(copy / 'profiles' / f'int4_{method}').measured
    assert 0.0 < measured['action_error'] < 1.0
    found = loaded(copy, f'int4_{method}').act(observation).actions
    assert found.shape == (CHUNK, 7) and np.isfinite(found).all()


def test_a_rotation_is_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ['--checkpoint', str(checkpoint), '--bits', '4', '--method', 'rotation']
    assert quantize([*words, '--dry-run']) == 1
    assert 'choose another method' in capsys.readouterr().err


def test_the_last_layer_of_the_head_is_kept_whatever_is_asked_for(model: OpenVLA) -> None:
    assert not any('head' in name for names in select_layers(model).values() for name in names)
    chosen = set(select_groups(model, ['head'])['head'])
    blocks = {f'action_head.blocks.{i}.linear' for i in range(2)}
    assert chosen == {'action_head.fc1', *blocks}


def test_who_asks_for_bins_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ParameterError, match=r"Saliency.*'l1'"):
        OpenVLATeacher(loaded(checkpoint), 'action')
    with pytest.raises(ParameterError, match=r"Fine-tuning.*'l1'"):
        load_teacher(checkpoint, CONTRACT)


def test_a_policy_may_take_the_measured_state_alone_but_no_other_proprioception(
    observation: Observation, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for length in (7, 8):
        config = with_l1_head(odd_config(n_images=2, proprio_dim=length), 2)
        sizes = {'text': config.text | {'vocab_size': 832}, 'text_vocab_size': 768}
        model = random_model(with_l1_head(config, 2, **sizes))
        actions, proprio = rng.normal(size=(50, 7)), rng.normal(size=(50, length))
        statistics = dataset_statistics('d', actions, proprio, 1)
        directory = tmp_path / str(length)
        save_checkpoint(directory, model, train_tokenizer(), statistics, CONTRACT, 'oft')
        if length == 8:
            with pytest.raises(CheckpointError, match='takes 8 numbers'):
                loaded(directory)
            continue
        policy = loaded(directory)
        moved = dataclasses.replace(observation, command=observation.command + 1.0)
        first = policy.act(observation).actions
        np.testing.assert_array_equal(policy.act(moved).actions, first)
        moved = dataclasses.replace(observation, state=observation.state + 1.0)
        assert np.abs(policy.act(moved).actions - first).max() > 1e-4
