# SPDX-License-Identifier: Apache-2.0
"""How many bytes of weights the stages of a control step have to read, at the least."""

from __future__ import annotations

from torch import nn

from sqil_ros.policy.openvla.config import N_ACTIONS
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.quant.size import model_bytes


def moved_bytes(model: OpenVLA) -> dict[str, int]:
    """Bytes by stage of :data:`sqil_ros.bench.steps.STAGES`: every weight once a pass over it.

    A step cannot be faster than these bytes are read. One row of activations comes close; a
    prefill multiplies so often with each weight that arithmetic is the limit.
    """
    eyes = [model.dino, model.siglip, model.projector, model.proprio_projector]
    vision = sum(model_bytes(part).total for part in eyes if isinstance(part, nn.Module))
    layers = model_bytes(model.language_model.model.layers).total
    if model.action_head is not None:
        decode = layers + model_bytes(model.action_head).total
        return {'vision': vision, 'decode': decode, 'step': vision + decode}
    head = model.language_model.lm_head.weight
    token = layers + model.config.n_action_bins * head.shape[1] * head.element_size()
    decode = N_ACTIONS * token
    return {
        'vision': vision,
        'prefill': token,
        'token': token,
        'decode': decode,
        'step': vision + decode,
    }
