# SPDX-License-Identifier: Apache-2.0
"""The far side of :mod:`sqil_ros.policy.own_process`: loads a policy and answers for it."""

from __future__ import annotations

from multiprocessing.connection import Connection

from sqil_ros.contract import Contract
from sqil_ros.policy import wire
from sqil_ros.policy.base import Policy
from sqil_ros.policy.loader import checkpoint_directory, load_policy
from sqil_ros.priority import go_first
from sqil_ros.types import Observation

_NICENESS, _LOADING_NICENESS, _BACKGROUND_NICENESS = -4, 5, 10


def serve(near: Connection) -> None:
    """Load what the first message asks for, then answer.

    Raises:
        EOFError, OSError: the node is gone.
    """
    policy = _load(near)
    while policy is not None:
        message = near.recv_bytes()
        try:
            if message == wire.RESET:
                policy.reset()
                answer = wire.DONE
            elif message.startswith(wire.LOOK):
                answer = wire.saliency_to_bytes(_look(policy, *wire.look_from_bytes(message)))
            else:
                answer = wire.chunk_to_bytes(policy.act(wire.observation_from_bytes(message)))
        except Exception as error:  # noqa: BLE001  it is raised on the other side
            answer = wire.error_to_bytes(error)
        near.send_bytes(answer)


def _load(near: Connection) -> Policy | None:
    """Load what the first message asks for and say how it went."""
    request = wire.load_request_from_bytes(near.recv_bytes())
    # While loading it leaves the processor to the policy that acts, if it can come back later.
    may_return = not request.background and go_first(_NICENESS)
    if request.background:
        go_first(_BACKGROUND_NICENESS)
    elif may_return:
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


def _look(policy: Policy, observation: Observation, side: int) -> wire.LiveSaliency:
    # Torch, only when it is asked.
    from sqil_ros.policy.openvla.live_saliency import live_saliency
    from sqil_ros.policy.openvla.policy import OpenVLAPolicy

    assert isinstance(policy, OpenVLAPolicy)
    return live_saliency(policy, observation, side)


def _policy(request: wire.LoadRequest) -> Policy:
    if checkpoint_directory(request.checkpoint) is not None:
        import torch  # only for a policy that computes with it

        torch.set_num_threads(request.threads)
    contract = Contract.parse(request.contract, 'The contract of the node')
    return load_policy(
        request.checkpoint, request.profile, contract, request.device, request.engine,
        act_only=True,
    )  # fmt: skip
