# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.demo.plan import plan
from sqil_ros.errors import ParameterError, SceneError
from sqil_ros.sim.tasks import TASKS

NAMES = [task.name for task in TASKS]


@given(
    tasks=st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    episodes=st.integers(1, 20),
    first=st.integers(0, 10**6),
)
def test_every_task_starts_from_the_same_seeds(tasks, episodes, first):
    chosen = plan(tasks, episodes, first)
    for name in tasks:
        seeds = [episode.seed for episode in chosen if episode.task.name == name]
        assert seeds == list(range(first, first + episodes))
    assert len({episode.id for episode in chosen}) == len(chosen) == len(tasks) * episodes


def test_a_run_cut_short_has_tried_the_tasks_equally_often():
    assert [episode.task.name for episode in plan(NAMES, 5)][:8] == NAMES * 2


@pytest.mark.parametrize(
    ('arguments', 'error', 'named'),
    [
        ((['fly'], 1), SceneError, "'fly'"),
        (([], 5), ParameterError, '0 tasks'),
        ((NAMES, 0), ParameterError, '0 episodes'),
        ((['cup_plate', 'cup_plate'], 1), ParameterError, 'cup_plate, cup_plate'),
        ((NAMES, 5, -1), ParameterError, '-1'),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(arguments, error, named):
    with pytest.raises(error, match=named):
        plan(*arguments)
