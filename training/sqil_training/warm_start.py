# SPDX-License-Identifier: Apache-2.0
"""Beginning a training with the weights of a finished policy instead of chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sqil_ros.errors import TrainingError
from sqil_ros.policy.openvla.checkpoint import load_model

if TYPE_CHECKING:
    from sqil_training.behaviour_cloning import Trainer


def warm_start(trainer: Trainer, checkpoint: Path) -> None:
    """Copy the weights of a checkpoint; statistics, read-outs and moments stay those of a new run.

    Args:
        trainer: that has not learned yet.
        checkpoint: of any domain, with the same network and the same words.

    Raises:
        CheckpointError: there are no usable weights.
        TrainingError: its network is another one.
    """
    found = dict(load_model(checkpoint).named_parameters())
    wanted = dict(trainer.model.named_parameters())
    strange = sorted(found.keys() ^ wanted.keys()) + sorted(
        name for name in found.keys() & wanted.keys() if found[name].shape != wanted[name].shape
    )
    if strange:
        raise TrainingError(
            f'{checkpoint} has another network: {len(strange)} weights differ in name or shape, '
            f'{strange[0]} first. Start from a checkpoint of sqil-train-bc with the same --chunk, '
            'or from chance.'
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(found[name])
            trainer.averaged[f'model.{name}'].copy_(found[name])
