# SPDX-License-Identifier: Apache-2.0
"""Rollouts carry the answers of the teacher that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqil_training import dagger
from sqil_training.collect import Job
from sqil_training.evaluate import DEFAULT_CHECKPOINT

from sqil_ros.sim.tasks import TASKS

pytestmark = pytest.mark.sim
TASK = TASKS[1]


@pytest.fixture
def roll(monkeypatch):
    monkeypatch.setattr(dagger, 'LONGEST', 4)

    def go(teacher, share):
        jobs = [Job(TASK.name, 7777, Path('unused'))]
        arguments = (str(DEFAULT_CHECKPOINT), 'fp', teacher, jobs, 1, share)
        ((_, episode),) = dagger.learn_from_rollouts(*arguments)
        return episode

    return go


def test_a_policy_that_teaches_itself_has_nothing_to_correct(roll):
    episode = roll('fp', 0.0)
    np.testing.assert_array_equal(episode.actions, episode.executed)


def test_the_expert_labels_what_the_policy_did(roll):
    episode = roll('expert', 0.0)
    of_task = np.split(episode.privileged['labels'], len(TASKS), axis=1)[1]
    np.testing.assert_array_equal(episode.actions, of_task)
    assert np.abs(episode.actions - episode.executed).max() > 0.0


def test_a_teacher_that_always_takes_over_acts_as_it_labels(roll):
    episode = roll('expert', 1.0)
    np.testing.assert_array_equal(episode.actions, episode.executed)
