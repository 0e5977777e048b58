# SPDX-License-Identifier: Apache-2.0
"""Teacher and student of a run: one checkpoint at two precisions."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from sqil_ros.contract import Contract
from sqil_ros.errors import ParameterError
from sqil_ros.policy.loader import FULL_PRECISION, load_policy
from sqil_ros.policy.openvla.config import require_tokens
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.processor import Batch
from sqil_ros.quant.manifest import Profile
from sqil_ros.quant.primitives import WHOLE_ROW
from sqil_ros.quant.profile import find_profile, read_profile
from sqil_ros.quant.size import packed_layers
from sqil_training.finetune.adapters import BESIDE, Rounding, add_beside, add_merged
from sqil_training.finetune.settings import FinetuneSettings


class ActionLogits(nn.Module):
    """A network as its losses see it: inputs and action tokens in, (B, 7, bins) logits out."""

    def __init__(self, network: OpenVLA) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch, tokens: Tensor) -> Tensor:
        """Teacher-forced logits for the (B, 7) ``tokens``."""
        features = self.network.patch_features(batch.pixels)
        states = self.network.action_states(batch, tokens, features)
        return self.network.action_logits(states)


def load_teacher(checkpoint: Path, contract: Contract) -> OpenVLAPolicy:
    """The full-precision policy, without gradient.

    Raises:
        CheckpointError, ContractMismatch: see :func:`sqil_ros.policy.loader.load_policy`.
        ParameterError: the policy has no logits.
    """
    teacher = load_policy(checkpoint, FULL_PRECISION, contract)
    assert isinstance(teacher, OpenVLAPolicy)
    require_tokens(teacher.model.config, 'Fine-tuning')
    teacher.model.requires_grad_(False)
    return teacher


def load_student(checkpoint: Path, settings: FinetuneSettings, contract: Contract) -> OpenVLA:
    """The network that learns: nothing of it but its low-rank changes.

    Raises:
        ProfileError: the profile is unknown, unsound or not of this checkpoint.
        ParameterError: the adapter cannot learn on this profile's grid.
    """
    profile = read_profile(find_profile(checkpoint, settings.profile, contract.hash))
    torch.manual_seed(settings.seed)  # of the adapters' first values
    if settings.adapter == BESIDE:
        policy = load_policy(checkpoint, settings.profile, contract)
        assert isinstance(policy, OpenVLAPolicy)
        for layer in packed_layers(policy.model).values():
            layer.use('reference')  # it has gradients and gives weights back at no cost
        add_beside(policy.model, settings.rank, settings.alpha, settings.dropout)
        return policy.model
    student = load_teacher(checkpoint, contract).model
    add_merged(student, _roundings(checkpoint, profile, contract), settings.rank, settings.alpha)
    return student


def _roundings(checkpoint: Path, profile: Profile, contract: Contract) -> dict[str, Rounding]:
    """Of every layer of a profile whose grid an adapter can learn on."""
    for group in profile.groups:
        if group.group_size != WHOLE_ROW or not group.symmetric:
            raise ParameterError(
                f'Adapter merged cannot learn on profile {profile.name}: it rounds whole rows, '
                'symmetrically. Choose such a profile, or adapter beside.'
            )
    widths = {layer: group.bits for group in profile.groups for layer in group.layers}
    if profile.inputs is None:
        return {name: Rounding(bits) for name, bits in widths.items()}
    calibrated = load_policy(checkpoint, profile.name, contract)
    assert isinstance(calibrated, OpenVLAPolicy)
    layers = packed_layers(calibrated.model)
    return {name: Rounding(bits, layers[name].inputs) for name, bits in widths.items()}
