# SPDX-License-Identifier: Apache-2.0
"""Chunks of actions, executed one a tick until the policy is asked again."""

from __future__ import annotations

from typing import NamedTuple

from sqil_ros.errors import ParameterError
from sqil_ros.types import Array


class Planned(NamedTuple):
    """What is left of a chunk.

    Attributes:
        actions: (K, 7) from this tick on, the first for now.
        place: of the first in its chunk.
    """

    actions: Array
    place: int


class Plan:
    """The chunk that is being executed.

    Each of its actions was meant for one tick after the other, under one instruction. Whoever
    asks says what holds now; where that is not what the plan was made for, it is void. Ticks that
    pass while the policy thinks are not missed by its plan: nothing was executed between.
    """

    def __init__(self, steps: int) -> None:
        """Execute ``steps`` actions of every chunk, 0 for all.

        Raises:
            ParameterError: below 0.
        """
        if steps < 0:
            raise ParameterError(f'Parameter chunk_steps is {steps}; use 0 for all, or more.')
        self._steps = steps
        self.forget()

    def forget(self) -> None:
        """Ask the policy next."""
        self._chunk: Array | None = None
        self._made_for: object = None
        self._index = self._missed = self._thought = 0

    def follow(self, chunk: Array, made_for: object, missed: int = 0, thought: int = 0) -> Planned:
        """A (K, 7) ``chunk`` from its first action on.

        Args:
            chunk: the answer of the policy.
            made_for: instruction and whatever else must hold as long as it is followed.
            missed: ticks missed so far.
            thought: ticks that passed while the policy thought, and will be counted as missed.
        """
        self._chunk, self._made_for, self._index = chunk, made_for, 0
        self._missed, self._thought = missed, thought
        return Planned(chunk, 0)

    def next(self, made_for: object, missed: int = 0) -> Planned | None:
        """The action for the next tick; None where the policy must be asked.

        Args:
            made_for: what holds now.
            missed: ticks missed so far; none in a simulation that waits for its policy.
        """
        if self._chunk is None or made_for != self._made_for:
            return None
        since, self._missed = missed - self._missed, missed
        forgiven, self._thought = self._thought, 0
        if since > forgiven:
            return None
        self._index += 1
        if self._index >= min(self._steps or len(self._chunk), len(self._chunk)):
            return None
        return Planned(self._chunk[self._index :], self._index)
