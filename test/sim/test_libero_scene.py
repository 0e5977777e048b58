# SPDX-License-Identifier: Apache-2.0
"""The real LIBERO; in its environment: `.venv-libero/bin/python -m pytest test/sim -k libero`."""

import numpy as np
import pytest
from sqil_training.libero.arms import arm_of
from sqil_training.libero.judge import act_as_expert, judged
from sqil_training.libero.spatial import MEANT, OTHER, POINTS
from sqil_training.libero.tasks import INITIAL_STATES, PLACEMENTS, task_by_name

from sqil_ros.contract import state_from_pose
from sqil_ros.errors import SceneError

pytest.importorskip('libero', reason='LIBERO lives in .venv-libero (make judge-libero)')
pytestmark = [pytest.mark.sim, pytest.mark.slow]
TASK = task_by_name('chocolate_pudding')


@pytest.fixture(scope='module')
def arm():
    return arm_of(TASK.name)


def test_the_expert_succeeds_from_an_initial_state_of_libero(arm):
    assert judged(arm, TASK, 0, INITIAL_STATES, act_as_expert).success


def test_an_initial_state_is_the_same_every_time(arm):
    arm.restore(1)
    first = arm.scene.state()
    arm.reset(7)
    arm.restore(1)
    for name, pose in arm.scene.state().objects.items():
        np.testing.assert_array_equal(pose.position, first.objects[name].position)


def test_pictures_and_proprioception_are_those_of_the_contract(arm):
    arm.restore(0)
    contract = arm.scene.contract
    observation = arm.observe(TASK.instruction)
    assert [image.shape for image in observation.images] == [(128, 128, 3)] * 2
    assert all(image.std() > 10.0 for image in observation.images)
    np.testing.assert_array_equal(observation.state[:6], observation.command[:6])
    tilt = state_from_pose(contract, arm.scene.tcp(), 1.0)[3:6]
    assert np.linalg.norm(tilt) < 0.1


def test_a_key_point_is_where_the_picture_shows_it(arm):
    arm.restore(0)
    basket = arm.scene.state().objects['basket'].position + [0.0, 0.0, 0.07]
    (x, y), _ = (seen[0] for seen in arm.scene.project(basket[None]))
    assert 0.6 < x < 1.0
    assert 0.3 < y < 0.7


def test_an_initial_state_that_libero_has_not_is_refused(arm):
    with pytest.raises(SceneError, match='0 to 49'):
        arm.restore(50)


@pytest.fixture(scope='module')
def bowls():
    return arm_of('bowl_on_the_stove')


def test_the_expert_puts_the_bowl_on_the_plate(bowls):
    task = bowls.scene.task
    assert judged(bowls, task, 0, INITIAL_STATES, act_as_expert).success
    assert judged(bowls, task, 9000, PLACEMENTS, act_as_expert).success


def test_things_of_libero_spatial_are_told_apart(bowls):
    bowls.restore(0)
    objects = bowls.scene.state().objects
    assert set(objects) == set(POINTS)
    over_the_stove = objects[MEANT].position - objects['flat_stove'].position
    assert np.linalg.norm(over_the_stove[:2]) < 0.2
    assert objects[OTHER].position[2] > 0.2


def test_a_placement_does_not_depend_on_the_one_before(bowls):
    bowls.reset(3)
    first = bowls.scene.state()
    bowls.reset(4)
    bowls.reset(3)
    for name, pose in bowls.scene.state().objects.items():
        np.testing.assert_allclose(pose.position, first.objects[name].position, atol=1e-6)


def test_things_that_a_placement_flings_apart_are_placed_again():
    arm = arm_of('bowl_between_the_plate_and_the_ramekin')
    arm.reset(9005)
    objects = arm.scene.state().objects
    plate = objects['plate'].position
    assert np.linalg.norm((objects[MEANT].position - plate)[:2]) < 0.2
