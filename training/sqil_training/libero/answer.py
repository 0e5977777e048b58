# SPDX-License-Identifier: Apache-2.0
"""What a policy does in LIBERO about what it sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.types import Action, Observation
from sqil_training.evaluation import policy_actor
from sqil_training.libero.tasks import CONTRACT

Answer = Callable[[Observation], Action]


@cache
def answer_of(checkpoint: str, profile: str) -> Answer:
    """A policy, loaded once a process.

    Raises:
        SqilError: checkpoint or profile cannot be used.
    """
    actor = policy_actor(checkpoint, profile, Contract.load(CONTRACT))

    def answer(observation: Observation) -> Action:
        row = actor([], [], [observation])[0, 0]
        return Action(np.asarray(row[:6], dtype=float), float(row[6]))

    return answer
