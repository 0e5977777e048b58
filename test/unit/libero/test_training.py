# SPDX-License-Identifier: Apache-2.0
"""From a demonstration to batches: what the one writes is what the other asks about."""

import numpy as np
import pytest
from sqil_training.behaviour_cloning import Settings, Trainer
from sqil_training.command_shift import shifted
from sqil_training.demonstrations import Demonstrations
from sqil_training.demonstrator import Noise
from sqil_training.domains import DOMAINS
from sqil_training.episodes import episode_folder, observation_at, read_episode, write_episode
from sqil_training.libero.collect import Job, Learner, run
from sqil_training.libero.demonstrator import demonstrate, teach
from sqil_training.libero.domain import LIBERO_OBJECT
from sqil_training.libero.objects import POINTS, TASKS
from sqil_training.libero.tasks import task_by_name
from sqil_training.mixture import LONGEST

from sqil_ros.contract import Contract
from sqil_ros.errors import ContractMismatch, EpisodeError
from sqil_ros.policy.loader import load_policy
from sqil_ros.types import Action

CONTRACT = Contract.load(LIBERO_OBJECT.contract)
CLEAN = Noise(clean_share=1.0)
THERE = [TASKS.index(task_by_name(name)) for name in ('alphabet_soup', 'butter')]


@pytest.fixture
def episode(arm):
    return demonstrate(arm, TASKS[0], 3, CLEAN)


@pytest.fixture
def root(episode, tmp_path):
    write_episode(episode_folder(tmp_path, episode.task, 'expert', 3), episode)
    return tmp_path


def test_a_demonstration_ends_with_open_fingers(episode):
    assert episode.success
    assert episode.executed[-1, 6] == 1.0
    assert episode.instruction == 'pick up the alphabet soup and place it in the basket'
    assert episode.contract == CONTRACT.hash


def test_the_same_seed_gives_the_same_demonstration(arm, episode):
    again = demonstrate(arm, TASKS[0], 3, CLEAN)
    np.testing.assert_array_equal(again.executed, episode.executed)


def idle(observation):
    return Action(np.zeros(6), 1.0)


def test_a_learner_is_labelled_where_it_goes_itself(arm):
    episode = teach(arm, TASKS[0], 3, idle, 0.0)
    assert not episode.success and len(episode) == LONGEST
    np.testing.assert_array_equal(episode.executed[:, :6], 0.0)
    assert np.linalg.norm(episode.actions[:, :3], axis=1).min() > 0.0


def test_an_expert_that_always_takes_over_acts_as_it_labels(arm):
    episode = teach(arm, TASKS[0], 3, idle, 1.0)
    assert episode.success
    np.testing.assert_array_equal(episode.executed, episode.actions)


def test_the_failure_of_a_learner_is_kept(arm, tmp_path, monkeypatch):
    monkeypatch.setattr('sqil_training.libero.collect.arm_of', lambda task: arm)
    monkeypatch.setattr('sqil_training.libero.collect.answer_of', lambda *names: idle)
    folder = episode_folder(tmp_path, TASKS[0].name, 'r1', 3)
    assert run(Job(TASKS[0].name, 3, folder, Learner('checkpoint', 'fp', 0.0))) == (True, LONGEST)
    assert not read_episode(folder).success


def test_only_things_that_are_there_have_labels_and_key_points(episode):
    labels, keypoints = episode.privileged['labels'], episode.privileged['keypoints']
    assert labels.shape == (len(episode), 10, 7)
    assert not np.isnan(labels[:, THERE]).any()
    assert np.isnan(np.delete(labels, THERE, axis=1)).all()
    there = [POINTS.index(name) for name in ('alphabet_soup', 'butter', 'basket')]
    assert (np.delete(keypoints[:, :, :-1], there, axis=2) < 0.0).all()
    assert (keypoints[:, :, [*there, -1]] > 0.0).all()


def test_the_answer_to_another_command_is_the_experts(episode):
    rng, changed = np.random.default_rng(0), 0
    for t in range(len(episode)):
        proprio = np.concatenate([episode.states[t], episode.commands[t]])
        objects, label = episode.privileged['objects'][t], episode.actions[t]
        other, answer = shifted(
            LIBERO_OBJECT.expert, CONTRACT, proprio, objects, np.nan, 0, label, rng
        )
        assert np.isfinite(answer).all()
        changed += not np.array_equal(other, proprio)
    assert changed > len(episode) // 2


def test_batches_ask_only_what_the_scene_can_answer(root):
    data = Demonstrations([root], LIBERO_OBJECT)
    samples = data.draw(np.random.default_rng(0), 256, relabel=1.0, shift=0.5)
    assert set(samples.tasks) == set(THERE)
    assert len(samples.picture) > 256
    for values in (samples.actions, samples.goals, samples.places, samples.proprio):
        assert np.isfinite(values).all()
    assert np.isnan(samples.turn).all()
    assert samples.keypoints.shape == (256, 2, len(POINTS) + 1, 2)


def test_episodes_of_another_robot_are_refused(root):
    with pytest.raises(EpisodeError, match=CONTRACT.hash):
        Demonstrations([root], DOMAINS['toy_sink'])


def test_what_is_written_reads_back(root, episode):
    found = read_episode(episode_folder(root, episode.task, 'expert', 3))
    np.testing.assert_array_equal(
        found.privileged['labels'].reshape(-1, 10, 7)[:, 0], found.actions
    )
    np.testing.assert_array_equal(found.actions, episode.actions)


def test_a_policy_of_liberos_robot_trains_and_is_no_policy_of_another(root, episode, tmp_path):
    data = Demonstrations([root], LIBERO_OBJECT)
    trainer = Trainer(Settings(batch=4), data)
    terms = trainer.train_step(data.draw(np.random.default_rng(0), 4, relabel=1.0, shift=1.0))
    assert np.isfinite(list(terms.values())).all()
    trainer.export(tmp_path / 'checkpoint')
    policy = load_policy(tmp_path / 'checkpoint', 'fp', CONTRACT)
    assert policy.act(observation_at(episode, 0)).actions.shape == (1, 7)
    with pytest.raises(ContractMismatch, match=CONTRACT.hash):
        load_policy(tmp_path / 'checkpoint', 'fp', Contract.load())
