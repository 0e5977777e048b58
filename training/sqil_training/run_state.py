# SPDX-License-Identifier: Apache-2.0
"""Saving a training run so that it goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from sqil_ros.errors import TrainingError

if TYPE_CHECKING:
    from sqil_training.behaviour_cloning import Trainer

WEIGHTS, FACTS = 'state.safetensors', 'state.json'


def save_state(run: Path, trainer: Trainer) -> None:
    """Write weights, averages and moments; the old state stays until the new is whole."""
    tensors = {}
    for name, parameter in trainer.parameters.items():
        tensors[f'weight.{name}'] = parameter.detach()
        tensors[f'average.{name}'] = trainer.averaged[name]
        for key, value in trainer.moments(parameter).items():
            tensors[f'{key}.{name}'] = value.detach()
    scratch = run / f'{WEIGHTS}.new'
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, scratch)
    facts = {
        'step': trainer.step,
        'statistics': trainer.statistics,
        'chunk': trainer.settings.chunk,
    }
    (run / f'{FACTS}.new').write_text(json.dumps(facts), encoding='utf-8')
    scratch.replace(run / WEIGHTS)
    (run / f'{FACTS}.new').replace(run / FACTS)


def load_state(run: Path, trainer: Trainer) -> None:
    """Restore what :func:`save_state` wrote, if anything; statistics stay those of the start.

    A read-out that is new since then starts afresh: it is no part of the policy.

    Raises:
        TrainingError: the run has another head.
    """
    if not (run / FACTS).is_file():
        return
    facts = json.loads((run / FACTS).read_text(encoding='utf-8'))
    if (chunk := facts.get('chunk', 0)) != trainer.settings.chunk:
        raise TrainingError(
            f'{run} was begun with --chunk {chunk}, not {trainer.settings.chunk}; go on with '
            'that, or give another --out.'
        )
    tensors = load_file(run / WEIGHTS)
    with torch.no_grad():
        for name, parameter in trainer.parameters.items():
            if f'weight.{name}' not in tensors:
                continue
            parameter.copy_(tensors[f'weight.{name}'])
            trainer.averaged[name].copy_(tensors[f'average.{name}'])
            state = trainer.moments(parameter)
            for key in ('step', 'exp_avg', 'exp_avg_sq', 'momentum'):
                if f'{key}.{name}' in tensors:
                    state[key] = tensors[f'{key}.{name}'].clone()
    trainer.step = facts['step']
    trainer.statistics = facts['statistics']
    trainer.refresh_statistics()
