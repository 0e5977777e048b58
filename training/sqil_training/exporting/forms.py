# SPDX-License-Identifier: Apache-2.0
"""One profile in the three forms between which nothing may get lost: fake, packed, executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sqil_ros.contract import Contract
from sqil_ros.policy.loader import FULL_PRECISION, load_policy
from sqil_ros.policy.openvla.engine_step import AUTO, TORCH
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.quant.activations import rounded
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.size import packed_layers

FULL, FAKE, PACKED, EXECUTED = 'full', 'fake', 'packed', 'executed'
MEANING: Mapping[str, str] = {
    FULL: 'full precision, in torch',
    FAKE: 'weights on their grid but in floating point, in torch',
    PACKED: 'packed weights, unpacked at every product, in torch',
    EXECUTED: 'packed weights as a robot runs them',
}


@dataclass(frozen=True)
class Form:
    """A policy that is ready to act.

    Attributes:
        name: one of :data:`MEANING`.
        origin: what its weights are taken from.
        policy: it.
    """

    name: str
    origin: str
    policy: OpenVLAPolicy


def forms(
    checkpoint: Path, profile: str, contract: Contract, student: OpenVLA | None = None
) -> Iterator[Form]:
    """The forms one after the other, so that only one of them has to be in memory.

    Args:
        checkpoint: that the profile belongs to.
        profile: its name.
        contract: of the robot.
        student: the network that was trained, where the profile was made of one: the fake form
            is then what training saw, and not what the profile says.

    Raises:
        SqilError: the checkpoint or the profile is unsound.
    """

    def policy(name: str, engine: str = TORCH) -> OpenVLAPolicy:
        loaded = load_policy(checkpoint, name, contract, engine=engine)
        assert isinstance(loaded, OpenVLAPolicy)
        return loaded

    yield Form(FULL, 'the checkpoint', policy(FULL_PRECISION))
    fake = policy(profile)
    fake.model = dense(fake.model) if student is None else student
    yield Form(FAKE, 'the profile' if student is None else 'the student as trained', fake)
    packed = policy(profile)
    for layer in packed_layers(packed.model).values():
        layer.use('reference')
    yield Form(PACKED, 'the profile', packed)
    yield Form(EXECUTED, 'the profile', policy(profile, AUTO))


def dense(model: OpenVLA) -> OpenVLA:
    """Put floating-point layers in the place of packed ones; returns ``model``."""
    for name, layer in packed_layers(model).items():
        parent, _, child = name.rpartition('.')
        setattr(model.get_submodule(parent), child, _dense_layer(layer))
    return model


def _dense_layer(layer: PackedLinear) -> nn.Linear:
    """The layer's weights, with what runs beside them, in one matrix."""
    has_bias = layer.bias is not None
    fake = nn.Linear(layer.in_features, layer.out_features, has_bias, device='meta')
    fake.weight = nn.Parameter(layer.weight, requires_grad=False)
    if layer.bias is not None:
        fake.bias = layer.bias
    if (rule := layer.inputs) is not None:

        def before(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
            return (rounded(inputs[0], rule),)

        fake.register_forward_pre_hook(before)
    return fake
