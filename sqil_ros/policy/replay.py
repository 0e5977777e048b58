# SPDX-License-Identifier: Apache-2.0
"""A policy that repeats recorded actions: the whole stack without a model."""

from __future__ import annotations

import numpy as np

from sqil_ros.policy.base import PolicyDescription, check_chunk
from sqil_ros.types import ActionChunk, Array, Observation


class ReplayPolicy:
    """Answers one recorded action a step; after the last one it stands still."""

    profile = 'replay'

    def __init__(self, actions: Array) -> None:
        """Keep ``actions`` (T, 7) in metres, radians and gripper opening.

        Raises:
            ActionError: wrong shape, or a value is not finite.
        """
        self._actions = check_chunk(ActionChunk(np.asarray(actions, dtype=np.float64))).actions
        self._step = 0

    def act(self, observation: Observation) -> ActionChunk:
        """The next recorded action, whatever ``observation`` shows."""
        if self._step < len(self._actions):
            row = self._actions[self._step]
            self._step += 1
        else:
            row = np.append(np.zeros(6), self._actions[-1, 6])
        return ActionChunk(row[None])

    def reset(self) -> None:
        """Start from the first action again."""
        self._step = 0

    def describe(self) -> PolicyDescription:
        """No weights, only a recording."""
        return PolicyDescription('replay', 'recording', parameters=self._actions.size)
