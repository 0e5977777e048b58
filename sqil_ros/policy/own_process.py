# SPDX-License-Identifier: Apache-2.0
"""A policy in a process of its own.

A step of a network is thousands of short operators. In a node it would share the interpreter lock
with the callbacks of every topic, and with the next profile while that is being loaded; in a
process of its own it shares it with nobody.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe

from sqil_ros.child_process import start_module
from sqil_ros.contract import Contract
from sqil_ros.errors import PolicyLost
from sqil_ros.policy import wire
from sqil_ros.policy.base import Policy, PolicyDescription
from sqil_ros.policy.loader import checkpoint_directory, load_policy
from sqil_ros.priority import go_first
from sqil_ros.types import ActionChunk, Observation

_LOAD_S = 120.0
_STEP_S = 10.0
_NICENESS, _LOADING_NICENESS = -4, 5


class PolicyProcess:
    """The near side: a :class:`~sqil_ros.policy.base.Policy` whose work is done elsewhere."""

    def __init__(
        self, checkpoint: str, profile: str, contract: Contract, device: str, threads: int
    ) -> None:
        """Start the process and wait until its policy is loaded.

        Args:
            checkpoint: as ``load_policy`` takes it, like the next three.
            profile: precision of its weights.
            contract: of the robot at hand.
            device: torch device.
            threads: CPU threads of one step.

        Raises:
            SqilError: whatever ``load_policy`` raised.
            PolicyLost: the process died or is silent.
        """
        self.profile = profile
        near, far = Pipe()
        with far:
            self._process = start_module('sqil_ros.policy.own_process', far.fileno())
        self._near: Connection = near
        request = wire.LoadRequest(checkpoint, profile, contract.to_json(), device, threads)
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

    def act(self, observation: Observation) -> ActionChunk:
        """The next actions.

        Raises:
            PolicyLost: the process died or is silent.
        """
        return wire.chunk_from_bytes(self._ask(wire.observation_to_bytes(observation), _STEP_S))

    def reset(self) -> None:
        """Forget the running episode."""
        wire.check_done(self._ask(wire.RESET, _STEP_S))

    def describe(self) -> PolicyDescription:
        """Facts for the status topic."""
        return self._description

    def close(self) -> None:
        """End the process at once; it has nothing to put in order."""
        self._near.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, message: bytes, patience_s: float) -> bytes:
        with contextlib.suppress(EOFError, OSError):  # it died; said below
            self._near.send_bytes(message)
            if self._near.poll(patience_s):
                return self._near.recv_bytes()
        state = self._process.poll()
        raise PolicyLost(
            f'The policy process (profile {self.profile}) '
            + (f'did not answer for {patience_s:.0f} s' if state is None else f'ended ({state})')
            + '; its last words are in the log above. Start the policy node again.'
        )


def serve(near: Connection) -> None:
    """The far side: load what is asked for, then answer until the node is gone."""
    policy = _load(near)
    while policy is not None:
        message = near.recv_bytes()
        try:
            if message == wire.RESET:
                policy.reset()
                answer = wire.DONE
            else:
                answer = wire.chunk_to_bytes(policy.act(wire.observation_from_bytes(message)))
        except Exception as error:  # noqa: BLE001  it is raised on the other side
            answer = wire.error_to_bytes(error)
        near.send_bytes(answer)


def _load(near: Connection) -> Policy | None:
    """Load what the first message asks for and say how it went."""
    request = wire.load_request_from_bytes(near.recv_bytes())
    # While loading it leaves the processor to the policy that acts, if it can come back later.
    may_return = go_first(_NICENESS)
    if may_return:
        go_first(_LOADING_NICENESS)
    policy = None
    try:
        policy = _policy(request)
        answer = wire.description_to_bytes(policy.describe())
    except Exception as error:  # noqa: BLE001  it is raised on the other side
        answer = wire.error_to_bytes(error)
    if may_return:
        go_first(_NICENESS)
    near.send_bytes(answer)
    return policy


def _policy(request: wire.LoadRequest) -> Policy:
    if checkpoint_directory(request.checkpoint) is not None:
        import torch  # only for a policy that computes with it

        torch.set_num_threads(request.threads)
    contract = Contract.parse(request.contract, 'The contract of the node')
    return load_policy(request.checkpoint, request.profile, contract, request.device)


def main(args: Sequence[str] | None = None) -> None:
    """Serve on the inherited connection whose number is the only argument; never returns."""
    arguments = sys.argv[1:] if args is None else list(args)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        serve(Connection(int(arguments[0])))
    sys.stderr.flush()
    os._exit(0)


if __name__ == '__main__':
    main()
