# SPDX-License-Identifier: Apache-2.0
"""What every policy offers: observation in, chunk of actions out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sqil_ros.errors import ActionError
from sqil_ros.types import ActionChunk, Observation


@dataclass(frozen=True)
class PolicyDescription:
    """What an operator wants to know about the policy that is acting.

    Attributes:
        name: architecture and size, for instance ``openvla-tiny``.
        back_end: what multiplies the weights (``torch``, ``packed-numpy`` ...).
        parameters: number of weights.
        weight_bytes: memory they occupy as loaded.
    """

    name: str
    back_end: str
    parameters: int = 0
    weight_bytes: int = 0


class Policy(Protocol):
    """A policy runs one step at a time on one thread."""

    @property
    def profile(self) -> str:
        """Name of the precision it runs at: ``fp``, ``int4_rtn`` ..."""

    def act(self, observation: Observation) -> ActionChunk:
        """The next actions; deterministic in what it has seen since :meth:`reset`."""

    def reset(self) -> None:
        """Forget the running episode."""

    def describe(self) -> PolicyDescription:
        """Facts for the status topic and for reports."""


def check_chunk(chunk: ActionChunk) -> ActionChunk:
    """``chunk`` itself, if it holds at least one finite row of seven numbers.

    Raises:
        ActionError: wrong shape, or a value is not finite.
    """
    actions = chunk.actions
    if actions.ndim != 2 or actions.shape[0] < 1 or actions.shape[1] != 7:
        raise ActionError(
            f'The policy answered with shape {actions.shape}; an action chunk is (K, 7), K >= 1. '
            'Repair the policy.'
        )
    if not np.all(np.isfinite(actions)):
        raise ActionError(
            f'The policy answered with {actions[0].tolist()}; every value must be finite. '
            'Check the checkpoint or choose another profile.'
        )
    return chunk
