# SPDX-License-Identifier: Apache-2.0
"""Which products with weights a control step of an OpenVLA is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from sqil_ros.bench.shapes import Shape
from sqil_ros.policy.openvla.config import L1, N_ACTIONS, OpenVLAConfig
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.quant.selection import select_layers

# Behind the keys and values of the last decoder layer only what is read is computed.
_FOR_ALL_TOKENS = ('k_proj', 'v_proj')


@dataclass(frozen=True)
class Operation:
    """A product of so many rows of activations with one weight matrix."""

    shape: Shape
    rows: int


@dataclass(frozen=True)
class LayerUse:
    """An operation of a layer in a control step.

    Attributes:
        layer: its name in the model.
        operation: what is computed.
        calls: how often.
    """

    layer: str
    operation: Operation
    calls: int


def layer_uses(config: OpenVLAConfig, words: int) -> Iterator[LayerUse]:
    """Every product with a layer of the kind that profiles quantise.

    Args:
        config: of the network.
        words: tokens of the prompt.
    """
    with torch.device('meta'):
        model = OpenVLA(config)
    patches = (config.image_size // model.dino.config.patch_size) ** 2
    prefix = 1 + model.dino.config.num_register_tokens
    prompt = words + config.n_images * patches // config.patch_merge**2
    prompt += 1 if config.proprio_dim else 0
    parallel = config.head == L1
    # The places of a parallel answer and its stop token are fed together with the prompt.
    fed = prompt + config.answers + 1 if parallel else prompt
    last = f'.layers.{model.language_model.config.num_hidden_layers - 1}.'
    for name in [name for names in select_layers(model).values() for name in names]:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        shape = Shape(layer.out_features, layer.in_features)
        if name.startswith('language_model'):
            whole = last not in name or name.endswith(_FOR_ALL_TOKENS)
            asked = config.answers if parallel else 1
            yield LayerUse(name, Operation(shape, fed if whole else asked), 1)
            if not parallel:
                yield LayerUse(name, Operation(shape, 1), N_ACTIONS - 1)
        else:
            tokens = patches + (prefix if name.startswith('dino') else 0)
            yield LayerUse(name, Operation(shape, config.n_images * tokens), 1)
