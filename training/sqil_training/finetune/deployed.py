# SPDX-License-Identifier: Apache-2.0
"""What a fine-tuned student becomes on a robot: integers, and maybe a low-rank change beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.quant.activations import Activations
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.manifest import Profile
from sqil_ros.quant.primitives import Quantized
from sqil_ros.quant.weights import LowRank
from sqil_training.finetune.adapters import beside, merged


@dataclass(frozen=True)
class Deployed:
    """Weights for :func:`sqil_ros.quant.profile.write_profile`.

    Attributes:
        groups: integers by layer, by group.
        changes: low-rank changes by layer; None where the integers have them in.
        activations: how inputs are rounded; None for not at all.
    """

    groups: Mapping[str, Mapping[str, Quantized]]
    changes: Mapping[str, LowRank] | None
    activations: Activations | None


def deployed(student: OpenVLA, profile: Profile) -> Deployed:
    """Take the weights out of a student that was trained on ``profile``."""
    integers: dict[str, Quantized] = {}
    changes: dict[str, LowRank] = {}
    steps: dict[str, float] = {}
    for name, pair in beside(student):
        base = pair.base_layer
        assert isinstance(base, PackedLinear)
        integers[name] = base.quantized
        down, up = (
            pairs['default'].get_parameter('weight') for pairs in (pair.lora_A, pair.lora_B)
        )
        changes[name] = LowRank(down.detach(), (pair.scaling['default'] * up).detach())
        if base.input_step is not None:
            steps[name] = float(base.input_step)
    for name, layer in merged(student):
        integers[name] = layer.quantized
        if layer.input_step is not None:
            steps[name] = float(layer.input_step.detach())
    groups = {
        group.name: {name: integers[name] for name in group.layers} for group in profile.groups
    }
    rule = profile.inputs
    activations = None
    if rule is not None:
        activations = Activations(rule.bits, steps if rule.static else None, rule.prompt_only)
    return Deployed(groups, changes or None, activations)
