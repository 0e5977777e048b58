# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sqil_training.libero.arm import LEASH_M
from sqil_training.libero.judge import act_as_expert
from sqil_training.libero.objects import MAX_STEPS, TASKS
from sqil_training.libero.tasks import task_by_name

from sqil_ros.errors import SceneError
from sqil_ros.sim.steering import STEP_M, STEP_RAD
from sqil_ros.types import Action

SOUP = task_by_name('alphabet_soup')


@pytest.mark.parametrize('seed', range(5))
def test_the_expert_puts_the_thing_into_the_basket(arm, seed):
    arm.reset(seed)
    while not arm.succeeded and arm.steps < MAX_STEPS:
        action = act_as_expert(arm, SOUP)
        assert np.linalg.norm(action.delta[:3]) <= STEP_M + 1e-12
        assert np.linalg.norm(action.delta[3:]) <= STEP_RAD + 1e-12
        arm.step(action)
    assert arm.succeeded
    assert arm.steps < 50


def test_the_expert_rises_once_the_thing_is_in_the_basket(arm):
    arm.reset(0)
    while not (arm.scene.success() and arm.gripper_command > 0.5):
        arm.step(act_as_expert(arm, SOUP))
    action = act_as_expert(arm, SOUP)
    assert action.gripper == 1.0
    assert action.delta[2] > 0.0


def test_a_thing_that_is_lost_is_fetched_again(arm):
    arm.reset(0)
    while arm.scene.state().objects['alphabet_soup'].position[2] < 0.1:
        arm.step(act_as_expert(arm, SOUP))
    arm.step(Action(np.zeros(6), 1.0))
    arm.scene._objects['alphabet_soup'][2] = 0.04
    arm.step(Action(np.zeros(6), 1.0))
    action = act_as_expert(arm, SOUP)
    assert action.gripper == 1.0
    assert action.delta[2] < 0.0


def test_the_command_does_not_run_away_from_an_arm_that_is_held(arm):
    arm.reset(0)
    arm.scene.step = lambda command: None
    for _ in range(10):
        arm.step(Action(np.array([0.04, 0.0, 0.0, 0.0, 0.0, 0.0]), 1.0))
    ahead = arm.command.position - arm.scene.tcp().position
    assert np.linalg.norm(ahead) == pytest.approx(LEASH_M)


def test_tasks_have_liberos_names():
    assert SOUP.libero_name == 'pick_up_the_alphabet_soup_and_place_it_in_the_basket'
    assert len({task.name for task in TASKS}) == 10
    with pytest.raises(SceneError, match='eggplant'):
        task_by_name('eggplant')
