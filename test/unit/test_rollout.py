# SPDX-License-Identifier: Apache-2.0
"""Arms in lockstep: who is asked when, and what is executed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sqil_training import rollout
from sqil_training.rollout import roll_out

from sqil_ros.sim.tasks import TASKS

TASK = TASKS[0]


class Arm:
    """Counts what it is asked and told."""

    def __init__(self) -> None:
        tcp = SimpleNamespace(position=np.zeros(3))
        contract = SimpleNamespace(period_s=0.2)
        self.scene = SimpleNamespace(tcp=lambda: tcp, state=lambda: None, contract=contract)
        self.done: list[float] = []
        self.looks = 0

    def reset(self, seed: int) -> None:
        self.seed = seed

    def observe(self, instruction: str) -> SimpleNamespace:
        self.looks += 1
        return SimpleNamespace(seed=self.seed, look=self.looks)

    def step(self, action) -> None:
        self.done.append(round(float(action.delta[0]), 3))


@pytest.fixture(autouse=True)
def _short_episodes(monkeypatch):
    monkeypatch.setattr(rollout, 'MAX_STEPS', 5)
    judge = SimpleNamespace(update=lambda state: False)
    monkeypatch.setattr(rollout, 'SuccessJudge', lambda task: judge)


@pytest.mark.parametrize('chunk, looks', [(1, 5), (2, 3), (3, 2), (8, 1)])
def test_a_chunk_is_executed_before_the_policy_is_asked_again(chunk, looks):
    def actor(arms, tasks, observations):
        rows = [[o.look + 0.1 * k, *[0.0] * 6] for o in observations for k in range(chunk)]
        return np.array(rows).reshape(len(observations), chunk, 7)

    arms = [Arm(), Arm()]
    episodes = [(TASK.name, seed) for seed in (1, 2)]
    outcomes = list(roll_out(arms, episodes, actor, lambda task: '', lambda seen: seen))
    expected = [round(1 + t // chunk + 0.1 * (t % chunk), 3) for t in range(5)]
    assert [arm.done for arm in arms] == [expected, expected]
    assert [arm.looks for arm in arms] == [looks, looks]
    assert sorted(outcome.seed for outcome in outcomes) == [1, 2]


def test_an_arm_that_begins_anew_is_asked_while_others_follow_their_plans():
    asked = []

    def actor(arms, tasks, observations):
        asked.append([o.seed for o in observations])
        return np.zeros((len(observations), 3, 7))

    list(roll_out([Arm()], [(TASK.name, 1), (TASK.name, 2)], actor, str, lambda seen: seen))
    assert asked == [[1], [1], [2], [2]], 'what is left of a chunk ends with its episode'
