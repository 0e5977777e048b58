# SPDX-License-Identifier: Apache-2.0
"""An OpenVLA as a teacher: what it is fed, what it answers, what it costs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.teacher import OpenVLATeacher
from sqil_ros.saliency import (
    SaliencySettings,
    picture_saliency,
    scored_steps,
    state_rng,
    vector_saliency,
)
from sqil_ros.types import Observation

ACTION = np.array([0.01, -0.02, 0.005, 0.0, 0.0, 0.03, 1.0])


@pytest.fixture
def rows(policy: OpenVLAPolicy) -> Iterator[list[int]]:
    """How many sequences each call of the decoder was given."""
    seen: list[int] = []

    def note(_module: torch.nn.Module, _args: tuple, kwargs: dict) -> None:
        seen.append(len(kwargs['inputs_embeds']))

    handle = policy.model.language_model.model.register_forward_pre_hook(note, with_kwargs=True)
    yield seen
    handle.remove()


def test_the_papers_settings_cost_at_most_16_3_passes_a_frame(
    policy: OpenVLAPolicy, observation: Observation, rows: list[int]
) -> None:
    """Counted in the decoder, over episodes of every length from 20 to 60 frames."""
    teacher = OpenVLATeacher(policy, 'action')
    settings = SaliencySettings()
    picture_saliency(teacher.state(observation, ACTION), settings, state_rng(0, 'e', 0))
    passes = sum(rows)
    assert passes == teacher.passes == 65
    for length in range(20, 61):
        assert passes * len(scored_steps(length, settings.stride)) / length <= 16.3


def test_greedy_tokens_cost_one_pass_more(policy: OpenVLAPolicy, observation: Observation) -> None:
    teacher = OpenVLATeacher(policy, 'action')
    picture_saliency(teacher.state(observation), SaliencySettings(side=2), state_rng(0, 'e', 0))
    assert teacher.passes == 1 + 1 + 4


def test_the_answer_is_the_policys_own(policy: OpenVLAPolicy, observation: Observation) -> None:
    """Fed with its greedy tokens, the likeliest bins are those tokens again."""
    state = OpenVLATeacher(policy, 'action').state(observation)
    logits = state.answer(state.encode(state.pictures)[None])
    assert logits.shape == (1, 7, policy.model.config.n_action_bins)
    action = policy.actions_from_tokens(policy.model.choose_tokens(logits).numpy())
    np.testing.assert_array_equal(action[0], policy.act(observation).actions[0])


def test_what_is_demonstrated_is_fed(policy: OpenVLAPolicy, observation: Observation) -> None:
    teacher = OpenVLATeacher(policy, 'action')
    features = teacher.state(observation).encode(teacher.state(observation).pictures)[None]
    one, other = (
        teacher.state(observation, action).answer(features) for action in (ACTION, -ACTION)
    )
    torch.testing.assert_close(one[:, 0], other[:, 0])  # the first token follows the prompt alone
    assert not torch.allclose(one[:, 6], other[:, 6])


def test_actions_and_tokens_are_inverse(policy: OpenVLAPolicy) -> None:
    once = policy.actions_from_tokens(policy.tokens_from_actions(ACTION[None]))
    again = policy.actions_from_tokens(policy.tokens_from_actions(once))
    np.testing.assert_allclose(again[:, :6], once[:, :6])


def test_text_logits_predict_every_word_and_action(
    policy: OpenVLAPolicy, observation: Observation
) -> None:
    state = OpenVLATeacher(policy, 'text').state(observation, ACTION)
    features = state.encode(state.pictures)[None]
    logits = state.answer(features)
    words = len(policy.processor.prompt_ids(observation.instruction)) - 1
    assert logits.shape == (1, words + 7, policy.model.config.text_config().vocab_size)
    bins = OpenVLATeacher(policy, 'action').state(observation, ACTION).answer(features)
    top = policy.model.config.text_vocab_size
    torch.testing.assert_close(logits[:, -7:, top - 256 : top].flip(-1), bins)


def test_every_discrepancy_sees_both_cameras(
    policy: OpenVLAPolicy, observation: Observation
) -> None:
    for name, scope in (('l2', 'action'), ('text_l2', 'text'), ('kl', 'action')):
        state = OpenVLATeacher(policy, scope).state(observation, ACTION)
        settings = SaliencySettings(side=2, discrepancy=name, cameras='each')
        assert np.all(picture_saliency(state, settings, state_rng(0, 'e', 0)).maps > 0.0)


def test_proprioception_has_a_saliency_too(
    policy: OpenVLAPolicy, observation: Observation
) -> None:
    teacher = OpenVLATeacher(policy, 'action')
    state = teacher.state(observation, ACTION)
    deviations = np.full(14, 0.1)
    deviations[4] = 0.0
    found = vector_saliency(
        state.answer_to_vectors, state.vector, deviations, 'l2', state_rng(0, 'e', 0), draws=2
    )
    assert found.shape == (14,) and found[4] == 0.0 and found.sum() > 0.0
    assert teacher.passes == 1 + 2 * 14
    assert teacher.encoded == 2, 'the pictures are encoded once'
