# SPDX-License-Identifier: Apache-2.0
"""A low-rank change beside the integers as a ``peft`` adapter, and back.

The scale of LoRA is in ``up`` already, so ``lora_alpha`` is the rank and the adapter's own scale
is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file

from sqil_ros.quant.weights import LowRank

WEIGHTS = 'adapter_model.safetensors'
CONFIG = 'adapter_config.json'
_DOWN = 'base_model.model.{}.lora_A.weight'
_UP = 'base_model.model.{}.lora_B.weight'


def save_adapter(folder: Path, changes: Mapping[str, LowRank], dtype: torch.dtype) -> None:
    """Write the changes of all layers, which are of one rank.

    Args:
        folder: made if it is not there.
        changes: by name of the layer.
        dtype: of the matrices in the file.
    """
    rank = len(next(iter(changes.values())).down)
    config = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=list(changes), bias='none', inference_mode=True
    )
    # A set otherwise, which is written in another order every time.
    config.target_modules = list(changes)
    config.save_pretrained(str(folder))
    tensors = {}
    for name, change in changes.items():
        tensors[_DOWN.format(name)] = change.down.detach().cpu().to(dtype).contiguous()
        tensors[_UP.format(name)] = change.up.detach().cpu().to(dtype).contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={'format': 'pt'})


def adapter_changes(tensors: Mapping[str, torch.Tensor]) -> dict[str, LowRank]:
    """The changes by name of the layer, from the tensors that :func:`save_adapter` wrote."""
    before, after = _DOWN.split('{}')
    names = [key.removeprefix(before).removesuffix(after) for key in tensors if after in key]
    return {n: LowRank(tensors[_DOWN.format(n)], tensors[_UP.format(n)]) for n in names}
