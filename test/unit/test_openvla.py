# SPDX-License-Identifier: Apache-2.0
"""OpenVLA's action interface on a tiny model: tokens, statistics, prompt, sequence."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sqil_ros.errors import CheckpointError
from sqil_ros.policy.openvla.action_tokenizer import decode, encode
from sqil_ros.policy.openvla.config import OpenVLAConfig, openvla_7b, tiny
from sqil_ros.policy.openvla.model import OpenVLA, merged
from sqil_ros.policy.openvla.processor import (
    Batch,
    Processor,
    images_from_pixels,
    pixels_from_images,
    prompt_text,
)
from sqil_ros.policy.openvla.statistics import (
    MINIMUM_RANGE,
    Normalizer,
    dataset_statistics,
    read_normalizer,
)
from sqil_ros.policy.openvla.tokenizer import space_token, train_tokenizer

LLAMA = 32000
_normalized = hnp.arrays(float, (3, 7), elements=st.floats(-1.5, 1.5))


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return OpenVLA(tiny()).eval()


@pytest.fixture(scope='module')
def processor(model):
    tokenizer = train_tokenizer()
    return Processor(model.config, tokenizer, None, space_token(tokenizer))


def _batch(processor, instructions):
    generator = torch.Generator().manual_seed(1)
    tokens, mask = processor.tokens(instructions)
    count = len(instructions)
    pixels = torch.randn(1, 2, 6, 128, 128, generator=generator).expand(count, -1, -1, -1, -1)
    proprio = torch.randn(1, 14, generator=generator).expand(count, -1)
    return Batch(pixels, tokens, mask, proprio)


# ---- tokens (methods: action tokenizer) ----------------------------------------------------


def test_the_published_ids_of_the_extremes():
    assert encode(np.array([-1.0, 1.0]), LLAMA).tolist() == [31999, 31744]
    assert decode(np.array([31999]), LLAMA)[0] == pytest.approx(-1 + 1 / 255)
    assert encode(np.array([0.0]), LLAMA)[0] == 31872
    assert decode(np.array([31872]), LLAMA)[0] == pytest.approx(0.0, abs=1e-12)


@given(_normalized)
def test_decoding_is_off_by_half_a_bin_at_most(values):
    error = np.abs(decode(encode(values, LLAMA), LLAMA) - np.clip(values, -1, 1))
    assert error.max() <= 1 / 255 + 1e-12


@given(_normalized)
def test_one_pass_through_the_bins_is_final(values):
    once = decode(encode(values, LLAMA), LLAMA)
    np.testing.assert_array_equal(decode(encode(once, LLAMA), LLAMA), once)


def test_every_bin_is_used_and_the_last_collapses():
    ids = np.arange(31744, 32000)
    assert len(np.unique(decode(ids, LLAMA))) == 255
    assert decode(ids[:1], LLAMA) == decode(ids[1:2], LLAMA)


# ---- statistics ---------------------------------------------------------------------------


@given(hnp.arrays(float, (5, 7), elements=st.floats(-1, 1)))
def test_normalising_is_undone_inside_the_range(values):
    low, high = np.full(7, -0.5), np.full(7, 0.7)
    normalizer = Normalizer(low, high, np.array([True] * 6 + [False]))
    inside = np.clip(values, low, high)
    inside[:, 6] = values[:, 6]
    back = normalizer.denormalize(normalizer.normalize(values))
    np.testing.assert_allclose(back, inside, atol=1e-12)


def test_a_channel_that_never_moves_gets_a_small_range():
    actions = np.zeros((100, 7))
    entry = dataset_statistics('d', actions, np.zeros((100, 14)), 3)['d']
    spread = np.array(entry['action']['q99']) - np.array(entry['action']['q01'])
    np.testing.assert_allclose(spread[:6], MINIMUM_RANGE)
    assert entry['num_transitions'] == 100 and entry['num_trajectories'] == 3


def test_statistics_of_another_data_set_are_refused_by_name(tmp_path):
    (tmp_path / 'dataset_statistics.json').write_text('{"bridge": {}}')
    with pytest.raises(CheckpointError, match='toy_sink'):
        read_normalizer(tmp_path, 'toy_sink', 'action')


# ---- prompt and pixels --------------------------------------------------------------------


def test_the_prompt_is_openvlas(processor):
    assert prompt_text(' Lift the Eggplant ') == (
        'In: What action should the robot take to lift the eggplant?\nOut:'
    )
    ids = processor.prompt_ids('zerlege das Auto, bitte!')
    assert ids[0] == 0 and ids[-1] == space_token(train_tokenizer())


def test_any_instruction_survives_the_tokenizer():
    tokenizer = train_tokenizer()
    text = prompt_text('schöne grüße ☕ 42')
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@settings(max_examples=20)
@given(hnp.arrays(np.uint8, (2, 8, 8, 3)))
def test_pixels_go_back_to_the_same_picture(images):
    back = images_from_pixels(pixels_from_images(torch.from_numpy(images)))
    np.testing.assert_array_equal(back.numpy(), images)


# ---- network ------------------------------------------------------------------------------


def test_padding_a_prompt_changes_nothing(model, processor):
    short = 'lift the eggplant'
    alone = _batch(processor, [short])
    padded = _batch(processor, [short, 'stack the purple cup on the green cup'])
    with torch.no_grad():
        one = model.predict_tokens(alone, model.patch_features(alone.pixels))
        two = model.predict_tokens(padded, model.patch_features(padded.pixels))
    assert torch.equal(one[0], two[0])


def test_teacher_forcing_agrees_with_greedy_decoding(model, processor):
    batch = _batch(processor, ['lift the eggplant', 'put the cup into the plate'])
    with torch.no_grad():
        features = model.patch_features(batch.pixels)
        tokens = model.predict_tokens(batch, features)
        logits = model.action_logits(model.action_states(batch, tokens, features))
    assert torch.equal(model.choose_tokens(logits), tokens)


@pytest.mark.parametrize('choice, bin_', [('argmax', 100), ('median', 129)])
def test_a_peak_of_standstill_decides_only_by_argmax(model, monkeypatch, choice, bin_):
    """A quarter of the chances stand still at bin 100, the others lie around 130."""
    monkeypatch.setattr(model.config, 'bin_choice', choice)
    chances = torch.full((model.config.n_action_bins,), 1e-9)
    chances[100] = 0.25
    chances[128:133] = 0.15
    token = model.choose_tokens(chances.log())
    assert token == model.config.text_vocab_size - 1 - bin_


def test_an_unknown_choice_of_bins_is_refused():
    with pytest.raises(CheckpointError, match="'mean'"):
        OpenVLAConfig(bin_choice='mean')


def test_every_input_reaches_the_action(model, processor):
    """A model that ignores its picture, its words or its state is a known way to fail."""
    batch = _batch(processor, ['lift the eggplant'])
    other = _batch(processor, ['put the cup into the plate'])

    def states(b):
        with torch.no_grad():
            features = model.patch_features(b.pixels)
            return model.action_states(b, torch.full((1, 7), 600), features)[0, 0]

    reference = states(batch)
    black = Batch(torch.zeros_like(batch.pixels), batch.tokens, batch.mask, batch.proprio)
    wrist = batch.pixels.clone()
    wrist[:, 1] = 0.0
    moved = Batch(batch.pixels, batch.tokens, batch.mask, batch.proprio + 1.0)
    blind = Batch(wrist, batch.tokens, batch.mask, batch.proprio)
    for changed in (other, black, moved, blind):
        assert (states(changed) - reference).abs().max() > 1e-3


def test_merging_keeps_neighbouring_patches_together():
    index = torch.arange(64.0).view(1, 1, 64, 1)
    squares = merged(index, 2)[0, 0]
    assert squares.shape == (16, 4)
    assert squares[0].tolist() == [0, 1, 8, 9]
    assert squares[5].tolist() == [18, 19, 26, 27]
    assert torch.equal(merged(index, 1), index)


def test_the_seven_billion_shape_is_the_published_one():
    config = openvla_7b()
    with torch.device('meta'):
        model = OpenVLA(config)
    count = sum(p.numel() for p in model.parameters())
    assert 7.2e9 < count < 7.8e9
    assert model.projector.fc1.weight.shape == (8704, 2176)
    assert model.projector.fc2.weight.shape == (4096, 8704)
    assert model.language_model.lm_head.weight.shape == (32064, 4096)
    assert config.text_vocab_size == LLAMA
