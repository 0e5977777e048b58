# SPDX-License-Identifier: Apache-2.0
"""The suite as vectors, and demonstrations in it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sqil_training.dmc.__main__ import main
from sqil_training.dmc.demonstrations import collect, demonstrate
from sqil_training.dmc.planner import Foresight
from sqil_training.dmc.tasks import TASKS
from sqil_training.dmc.world import World

from sqil_ros.errors import EpisodeError, SceneError

pytest.importorskip('dm_control', reason="needs the extra: pip install '.[dmc]'")

CARTPOLE = replace(TASKS['cartpole_balance'], foresight=Foresight(20, 3, 4), episodes=2, steps=12)


@pytest.fixture(scope='module')
def world():
    return World('cartpole', 'balance')


def test_a_seed_names_an_initial_state(world):
    first, other, again = world.reset(3), world.reset(4), world.reset(3)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_what_was_imagined_comes_to_pass_and_imagining_moves_nothing(world):
    world.reset(0)
    plan = np.random.default_rng(0).uniform(-1.0, 1.0, size=(1, 5, 1))
    imagined = world.imagine(np.repeat(plan, 2, axis=0))
    np.testing.assert_array_equal(imagined, world.imagine(np.repeat(plan, 2, axis=0)))
    for action, state in zip(plan[0], imagined[0], strict=True):
        # Position, cosine and sine of the pole, both speeds.
        seen, reward = world.step(action)
        np.testing.assert_allclose(seen[[0, 3, 4]], state[[0, 2, 3]], atol=1e-9)
        assert 0.0 <= reward <= 1.0


@pytest.mark.parametrize('name', TASKS)
def test_merits_look_at_states_as_they_are(name):
    task = TASKS[name]
    world = World(task.domain, task.goal)
    world.reset(0)
    states = world.imagine(np.zeros((2, 3, world.action_size)))
    merits = task.merit(states)
    assert merits.shape == (2, 3) and np.isfinite(merits).all()


def test_a_task_that_the_suite_does_not_have_is_refused():
    with pytest.raises(SceneError, match='no task cartpole fly'):
        World('cartpole', 'fly')


def test_a_seed_names_a_demonstration_and_its_noise_is_not_taught(world):
    first, again = demonstrate(CARTPOLE, world, 1), demonstrate(CARTPOLE, world, 1)
    np.testing.assert_array_equal(first.actions, again.actions)
    assert first.observations.shape == (12, 5) and first.actions.shape == (12, 1)
    assert np.abs(first.actions).max() <= 1.0


def test_collecting_goes_on_where_it_was_and_refuses_other_settings(tmp_path):
    told = []
    first = collect(CARTPOLE, tmp_path, lambda: told.append(1))
    (tmp_path / '0001.safetensors').unlink()
    again = collect(CARTPOLE, tmp_path, lambda: told.append(1))
    assert len(told) == 4
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)
    with pytest.raises(EpisodeError, match='another directory'):
        collect(replace(CARTPOLE, noise=0.5), tmp_path, lambda: None)


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / '0000.safetensors').write_bytes(b'nothing')
    with pytest.raises(EpisodeError, match=r'0000\.safetensors cannot be read'):
        collect(CARTPOLE, tmp_path, lambda: None)


@pytest.mark.slow
def test_from_demonstrations_to_a_result_file(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, 'cartpole_balance', replace(CARTPOLE, steps=80))
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
