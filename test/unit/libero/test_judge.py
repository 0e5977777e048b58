# SPDX-License-Identifier: Apache-2.0
import importlib.util

import numpy as np
import pytest
from sqil_training.libero.__main__ import main
from sqil_training.libero.collect import BLOCK, plan
from sqil_training.libero.judge import act_as_expert, judged
from sqil_training.libero.objects import MAX_STEPS, TASKS
from sqil_training.libero.tasks import CONTRACT, INITIAL_STATES, PLACEMENTS, SUITES, policy_for

from sqil_ros.contract import Contract
from sqil_ros.errors import ContractMismatch, SceneError
from sqil_ros.policy.loader import load_policy
from sqil_ros.types import Action


@pytest.mark.parametrize('start', [INITIAL_STATES, PLACEMENTS])
def test_the_expert_is_judged_a_success(arm, start):
    outcome = judged(arm, TASKS[0], 4, start, act_as_expert)
    assert (outcome.task, outcome.seed, outcome.success) == ('alphabet_soup', 4, True)
    assert outcome.steps == arm.steps
    assert len(outcome.grips) >= 1


def test_who_stands_still_fails_when_the_time_is_over(arm):
    outcome = judged(arm, TASKS[0], 0, PLACEMENTS, lambda arm, task: Action(np.zeros(6), 1.0))
    assert not outcome.success
    assert outcome.steps == MAX_STEPS


@pytest.mark.parametrize('suite', SUITES)
def test_the_policies_of_the_package_are_of_the_judges_contract(suite):
    checkpoint = policy_for(suite)
    contract = Contract.load(CONTRACT)
    for profile in ('fp', 'int3_sqil_merged'):
        load_policy(checkpoint, profile, contract)
    with pytest.raises(ContractMismatch):
        load_policy(checkpoint, 'fp', Contract.load())


def test_tasks_are_collected_in_blocks(tmp_path):
    jobs = plan(tmp_path, 'expert', ['butter', 'milk'], BLOCK + 1, 5)
    assert [job.task for job in jobs] == ['butter'] * BLOCK + ['milk'] * BLOCK + ['butter', 'milk']
    assert [job.seed for job in jobs] == [*range(5, 5 + BLOCK)] * 2 + [5 + BLOCK] * 2


def test_collected_episodes_are_not_collected_again(tmp_path):
    jobs = plan(tmp_path, 'expert', ['butter', 'milk'], 2, 5)
    jobs[0].folder.mkdir(parents=True)
    (jobs[0].folder / 'episode.json').touch()
    assert plan(tmp_path, 'expert', ['butter', 'milk'], 2, 5) == jobs[1:]


def test_seeds_that_judge_are_not_collected(tmp_path):
    with pytest.raises(SceneError, match='9000'):
        plan(tmp_path, 'expert', ['butter'], 2, 8999)


@pytest.mark.skipif(importlib.util.find_spec('libero') is not None, reason='LIBERO is here')
def test_without_libero_the_command_says_how_to_get_it(tmp_path, capsys):
    assert main(['judge', '--json', str(tmp_path / 'out.json')]) == 1
    assert 'make judge-libero' in capsys.readouterr().err
