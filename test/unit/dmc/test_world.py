# SPDX-License-Identifier: Apache-2.0
"""The suite as vectors, and demonstrations in it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sqil_training.dmc import practice
from sqil_training.dmc.__main__ import main
from sqil_training.dmc.demonstrations import collect, demonstrate
from sqil_training.dmc.expert import Expert, new_actor
from sqil_training.dmc.expert_file import expert_of
from sqil_training.dmc.practice import Practice
from sqil_training.dmc.tasks import TASKS
from sqil_training.dmc.world import World

from sqil_ros.errors import EpisodeError, SceneError

pytest.importorskip('dm_control', reason="needs the extra: pip install '.[dmc]'")

CARTPOLE = replace(TASKS['cartpole_balance'], episodes=2, steps=12)


@pytest.fixture(scope='module')
def world():
    return World('cartpole', 'balance')


@pytest.fixture(scope='module')
def expert():
    torch.manual_seed(0)
    return Expert(new_actor(5, 1, 8))


def test_a_seed_names_an_initial_state(world):
    first, other, again = world.reset(3), world.reset(4), world.reset(3)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_its_state_is_what_it_shows(world):
    world.reset(0)
    seen, reward = world.step(np.array([0.7]))
    # Position, cosine and sine of the pole, both speeds.
    cart, pole, *speeds = world.state
    np.testing.assert_allclose(seen, [cart, np.cos(pole), np.sin(pole), *speeds], atol=1e-9)
    assert 0.0 <= reward <= 1.0


@pytest.mark.parametrize('name', TASKS)
def test_merits_look_at_states_as_they_are(name):
    task = TASKS[name]
    world = World(task.domain, task.goal)
    world.reset(0)
    merits = task.merit(np.stack([world.state, world.state]))
    assert merits.shape == (2,) and np.isfinite(merits).all()


def test_a_task_that_the_suite_does_not_have_is_refused():
    with pytest.raises(SceneError, match='no task cartpole fly'):
        World('cartpole', 'fly')


def test_a_seed_names_a_demonstration_and_its_noise_is_not_taught(world, expert):
    first, again = (demonstrate(CARTPOLE, world, expert, 1) for _ in range(2))
    np.testing.assert_array_equal(first.observations, again.observations)
    assert first.observations.shape == (12, 5) and first.actions.shape == (12, 1)
    for observation, action in zip(first.observations, first.actions, strict=True):
        np.testing.assert_allclose(action, expert.act(observation), atol=1e-6)


def test_collecting_goes_on_where_it_was_and_refuses_other_settings(tmp_path, expert):
    told = []

    def collected(task):
        return collect(task, tmp_path, lambda: expert, lambda: told.append(1))

    first = collected(CARTPOLE)
    (tmp_path / '0001.safetensors').unlink()
    again = collected(CARTPOLE)
    assert len(told) == 4
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)
    with pytest.raises(EpisodeError, match='another directory'):
        collected(replace(CARTPOLE, noise=0.5))


def test_a_broken_file_is_named(tmp_path, expert):
    (tmp_path / '0000.safetensors').write_bytes(b'nothing')
    with pytest.raises(EpisodeError, match=r'0000\.safetensors cannot be read'):
        collect(CARTPOLE, tmp_path, lambda: expert, lambda: None)


def test_an_expert_practises_once_and_the_same_practice_makes_the_same_expert(tmp_path):
    pytest.importorskip('stable_baselines3', reason="needs the extra: pip install '.[dmc]'")
    task, told = replace(CARTPOLE, practice=Practice(2_100, worlds=2, hidden=8)), []
    first = expert_of(task, tmp_path / 'one', told.append)
    assert len(told) == 1 and 'cartpole_balance expert: 2100 of 2100 steps, earns' in told[0]
    kept = expert_of(task, tmp_path / 'one', told.append)
    other = expert_of(task, tmp_path / 'two', told.append)
    assert len(told) == 2
    seen = np.random.default_rng(0).normal(size=5)
    np.testing.assert_array_equal(first.act(seen), kept.act(seen))
    np.testing.assert_array_equal(first.act(seen), other.act(seen))


def test_the_best_actor_of_all_rounds_is_the_expert(monkeypatch):
    pytest.importorskip('stable_baselines3', reason="needs the extra: pip install '.[dmc]'")
    monkeypatch.setattr(practice, '_WARM_UP', 100)
    monkeypatch.setattr(practice, '_ROUND', 600)

    def learned(steps, *merits):
        earned = iter(merits)
        monkeypatch.setattr(practice, '_earned', lambda *_: next(earned))
        how = Practice(steps, worlds=2, hidden=8)
        actor = practice.practise(
            lambda: World('cartpole', 'balance'), CARTPOLE.merit, how, lambda *_: None
        )
        return Expert(actor).act(np.random.default_rng(0).normal(size=5))

    early, late = learned(600, 1.0), learned(1200, 1.0, 2.0)
    assert early != late and learned(1200, 2.0, 1.0) == early


@pytest.mark.slow
def test_from_demonstrations_to_a_result_file(tmp_path, monkeypatch):
    pytest.importorskip('stable_baselines3', reason="needs the extra: pip install '.[dmc]'")
    short = replace(CARTPOLE, steps=80, practice=Practice(2_100, worlds=2, hidden=8))
    monkeypatch.setitem(TASKS, 'cartpole_balance', short)
    words = ['--tasks', 'cartpole_balance', '--out', str(tmp_path), '--seeds', '1']
    words += ['--episodes', '2', '--cloning-steps', '50', '--tuning-steps', '20', '--stride', '1']
    result = tmp_path / 'result.json'
    assert main([*words, '--json', str(result)]) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*') if path != result}
    assert main([*words, '--json', str(result)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}, 'nothing is done twice'
    methods = json.loads(result.read_text())['tasks']['cartpole_balance']['methods']
    assert list(methods) == ['fp', 'ptq', 'qat', 'qbc', 'sqil']
    assert methods['fp']['share'] == 1.0 and len(methods['sqil']['returns'][0]) == 2
