# SPDX-License-Identifier: Apache-2.0
"""A policy in a process of its own.

A step of a network is thousands of short operators. In a node it would share the interpreter lock
with the callbacks of every topic, and with the next profile while that is being loaded; in a
process of its own it shares it with nobody.
"""

from __future__ import annotations

import contextlib
from multiprocessing.connection import Connection, Pipe

from sqil_ros.contract import Contract
from sqil_ros.errors import PolicyLost
from sqil_ros.policy import wire
from sqil_ros.policy.base import PolicyDescription
from sqil_ros.policy.nursery import Nursery
from sqil_ros.types import ActionChunk, Observation

_LOAD_S = 120.0
_STEP_S = 10.0
_LOOK_S = 60.0


class PolicyProcess:
    """The near side: a :class:`~sqil_ros.policy.base.Policy` whose work is done elsewhere."""

    def __init__(
        self,
        nursery: Nursery,
        checkpoint: str,
        profile: str,
        contract: Contract,
        device: str,
        threads: int,
        engine: str = 'auto',
        background: bool = False,
    ) -> None:
        """Start the process and wait until its policy is loaded.

        Args:
            nursery: where the process comes from.
            checkpoint: as ``load_policy`` takes it, like the next three.
            profile: precision of its weights.
            contract: of the robot at hand.
            device: torch device.
            threads: CPU threads of one step.
            engine: as ``load_policy`` takes it.
            background: leave the processor to whoever else wants it.

        Raises:
            SqilError: whatever ``load_policy`` raised.
            PolicyLost: the process died or is silent.
        """
        self.profile = profile
        self._background = background
        near, far = Pipe()
        with far:
            self._process = nursery.fork(far.fileno())
        self._near: Connection = near
        request = wire.LoadRequest(
            checkpoint, profile, contract.to_json(), device, threads, engine, background
        )
        try:
            self._description = wire.description_from_bytes(
                self._ask(wire.load_request_to_bytes(request), _LOAD_S)
            )
        except Exception:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    def require_alive(self) -> None:
        """See whether it could still answer; takes microseconds.

        Raises:
            PolicyLost: the process died.
        """
        if not self._process.alive:
            raise self._lost('ended')

    def act(self, observation: Observation) -> ActionChunk:
        """The next actions.

        Raises:
            PolicyLost: the process died or is silent.
        """
        return wire.chunk_from_bytes(self._ask(wire.observation_to_bytes(observation), _STEP_S))

    def look(self, observation: Observation, side: int) -> wire.LiveSaliency:
        """What the answer to ``observation`` hangs on, on a grid of ``side`` cells.

        Raises:
            ParameterError: the grid is too fine for the pictures.
            PolicyLost: the process died or is silent.
        """
        question = wire.look_to_bytes(observation, side)
        return wire.saliency_from_bytes(self._ask(question, _LOOK_S))

    def reset(self) -> None:
        """Forget the running episode."""
        wire.check_done(self._ask(wire.RESET, _STEP_S))

    def describe(self) -> PolicyDescription:
        """Facts for the status topic."""
        return self._description

    def interrupt(self) -> None:
        """End the process; who waits for its answer on another thread gets PolicyLost."""
        self._process.interrupt()

    def close(self) -> None:
        """End the process at once; it has nothing to put in order."""
        self._near.close()
        self._process.kill()

    def _ask(self, message: bytes, patience_s: float) -> bytes:
        with contextlib.suppress(EOFError, OSError):  # it died; said below
            self._near.send_bytes(message)
            if self._near.poll(patience_s):
                return self._near.recv_bytes()
        self.require_alive()
        raise self._lost(f'did not answer for {patience_s:.0f} s')

    def _lost(self, how: str) -> PolicyLost:
        who, mend = 'policy process', 'Start the policy node again.'
        if self._background:
            who, mend = 'copy of the policy', 'Deactivate and activate the policy node.'
        return PolicyLost(
            f'The {who} (profile {self.profile}) {how}; its last words are in the log above. '
            f'{mend}'
        )
