# SPDX-License-Identifier: Apache-2.0
"""LIBERO-Spatial: a bowl's rim, two bowls of one name, and words that mean the other."""

import numpy as np
import pytest
from sqil_training.demonstrations import Demonstrations
from sqil_training.demonstrator import Noise
from sqil_training.domains import DOMAINS
from sqil_training.episodes import episode_folder, write_episode
from sqil_training.libero.demonstrator import demonstrate
from sqil_training.libero.domain import LIBERO_SPATIAL
from sqil_training.libero.judge import act_as_expert, judged
from sqil_training.libero.names import distinct
from sqil_training.libero.objects import OBJECT
from sqil_training.libero.spatial import MAX_STEPS, MEANT, OTHER, POINTS, SPATIAL, TASKS
from sqil_training.libero.tasks import PLACEMENTS, SUITES, task_by_name

from sqil_ros.errors import EpisodeError, SceneError
from sqil_ros.types import Action

STOVE, CABINET = task_by_name('bowl_on_the_stove'), task_by_name('bowl_on_the_wooden_cabinet')
ASKED = [TASKS.index(STOVE), TASKS.index(CABINET)]


@pytest.fixture
def episode(bowls):
    return demonstrate(bowls, STOVE, 3, Noise(clean_share=1.0))


@pytest.fixture
def root(episode, tmp_path):
    write_episode(episode_folder(tmp_path, episode.task, 'expert', 3), episode)
    return tmp_path


def test_tasks_have_liberos_names_and_numbers():
    assert STOVE.libero_name == 'pick_up_the_black_bowl_on_the_stove_and_place_it_on_the_plate'
    assert [task.index for task in TASKS] == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_no_two_suites_have_a_task_of_one_name():
    names = [name for suite in SUITES.values() for name in suite.names()]
    assert len(set(names)) == len(names) == 19


def test_every_scene_answers_a_second_task():
    assert {task.second for task in TASKS} <= set(SPATIAL.names())
    assert all(task.second != task.name for task in TASKS)
    assert SPATIAL.told_wrongly(STOVE) == CABINET
    assert OBJECT.told_wrongly(OBJECT.tasks[-1]) == OBJECT.tasks[0]


def test_a_task_of_another_suite_is_refused():
    assert SPATIAL.names([CABINET.name]) == [CABINET.name]
    with pytest.raises(SceneError, match=r"spatial has no task 'butter'.*bowl_on_the_stove"):
        SPATIAL.names(['butter'])


def test_only_things_of_one_kind_keep_their_number():
    instances = ['akita_black_bowl_1', 'plate_1', 'akita_black_bowl_2']
    assert distinct(instances) == ['akita_black_bowl_1', 'plate', 'akita_black_bowl_2']


@pytest.mark.parametrize('seed', range(5))
def test_the_expert_puts_the_bowl_on_the_plate(bowls, seed):
    outcome = judged(bowls, STOVE, seed, PLACEMENTS, act_as_expert)
    assert outcome.success
    assert outcome.steps < 45


def test_the_bowl_is_held_by_its_rim(bowls):
    bowls.reset(0)
    while bowls.gripper_command > 0.5:
        bowls.step(act_as_expert(bowls, STOVE))
    off = bowls.scene.tcp().position - bowls.scene.state().objects[MEANT].position
    np.testing.assert_allclose(off, [0.0, 0.048, 0.034], atol=0.01)


def test_who_stands_still_has_less_time_than_in_libero_object(bowls):
    outcome = judged(bowls, STOVE, 0, PLACEMENTS, lambda arm, task: Action(np.zeros(6), 1.0))
    assert outcome.steps == MAX_STEPS


def test_only_what_the_words_can_mean_has_labels(episode):
    labels = episode.privileged['labels']
    assert episode.success
    assert labels.shape == (len(episode), len(TASKS), 7)
    assert not np.isnan(labels[:, ASKED]).any()
    assert np.isnan(np.delete(labels, ASKED, axis=1)).all()
    np.testing.assert_array_equal(labels[:, ASKED[0]], episode.actions)


def test_other_words_mean_the_other_bowl(bowls):
    bowls.reset(0)
    state = bowls.scene.state()
    seen = SPATIAL.as_asked(STOVE, CABINET, state)
    assert seen.objects[MEANT] == state.objects[OTHER]
    assert seen.objects[OTHER] == state.objects[MEANT]
    assert SPATIAL.as_asked(STOVE, STOVE, state) == state
    assert SPATIAL.as_asked(STOVE, TASKS[0], state) is None
    assert SPATIAL.as_asked(CABINET, STOVE, state) is not None


def test_batches_ask_for_either_bowl(root, episode):
    data = Demonstrations([root], LIBERO_SPATIAL)
    samples = data.draw(np.random.default_rng(0), 256, relabel=1.0, shift=0.0)
    assert set(samples.tasks) == set(ASKED)
    assert np.isfinite(samples.actions).all()
    other = samples.tasks == ASKED[1]
    second = episode.privileged['objects'][0, POINTS.index(OTHER)]
    np.testing.assert_allclose(samples.goals[other, :3] - second, 0.0, atol=1e-6)
    assert np.linalg.norm(samples.goals[~other, :3] - second, axis=1).min() > 0.05


def test_the_answer_to_another_command_is_about_the_bowl_that_is_asked_for(root):
    data = Demonstrations([root], LIBERO_SPATIAL)
    recorded = data.draw(np.random.default_rng(0), 256, relabel=1.0, shift=0.0)
    shifted = data.draw(np.random.default_rng(0), 256, relabel=1.0, shift=1.0)
    other = shifted.tasks == ASKED[1]
    moved = (recorded.proprio[other] != shifted.proprio[other]).any(axis=1)
    assert other.sum() > 50
    assert moved.mean() > 0.9


def test_episodes_of_the_other_suite_are_refused(root):
    with pytest.raises(EpisodeError, match="'bowl_on_the_stove', which libero_object has not"):
        Demonstrations([root], DOMAINS['libero_object'])
