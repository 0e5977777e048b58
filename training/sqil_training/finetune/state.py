# SPDX-License-Identifier: Apache-2.0
"""A run on disk: one file, whole or not at all, from which it goes on bit for bit.

What is drawn in a step depends on seed and step alone, so weights, moments and the step are all
there is to keep.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sqil_ros.errors import TrainingError
from sqil_training.finetune.settings import FinetuneSettings
from sqil_training.finetune.sharding import part_like, whole
from sqil_training.whole_file import whole_file

STATE = 'state.safetensors'
_MOMENTS = ('step', 'exp_avg', 'exp_avg_sq')
# A longer run or another rhythm of reports and looks is the same run.
_FREE = ('steps', 'report', 'save', 'evaluate_every')


def save_state(
    run: Path,
    step: int,
    settings: FinetuneSettings,
    base: str,
    learned: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    write: bool = True,
) -> None:
    """Write the state after ``step`` updates.

    Where the weights are shared out, every process must call; ``write`` is for one of them.

    Args:
        run: directory of the run.
        step: updates made.
        settings: of the run.
        base: digest of the checkpoint and fingerprint of the data, which must not change.
        learned: trainable parameters by name.
        optimizer: AdamW over them.
        write: whether this process is the one that writes.

    Raises:
        OSError: the disk is full; the state before stays.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in learned.items():
        tensors[f'weight.{name}'] = whole(parameter.detach())
        for key in _MOMENTS:
            tensors[f'{key}.{name}'] = whole(optimizer.state[parameter][key])
    if not write:
        return
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    facts = {'step': str(step), 'settings': json.dumps(_fixed(settings)), 'base': base}
    with whole_file(run / STATE) as file:
        file.write(save(tensors, facts))


def load_state(
    run: Path,
    settings: FinetuneSettings,
    base: str,
    learned: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Inverse of :func:`save_state`; returns the step, 0 where nothing was saved.

    Raises:
        TrainingError: the state is damaged, or of other settings, another checkpoint or data.
    """
    path = run / STATE
    if not path.is_file():
        return 0
    try:
        with safe_open(path, framework='pt') as file:
            facts = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f'{path} cannot be read ({error}); remove it to begin the run anew.'
        ) from error
    _require_same_run(path, facts, settings, base)
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(part_like(tensors[f'weight.{name}'], parameter))
            moments = {key: tensors[f'{key}.{name}'] for key in _MOMENTS}
            optimizer.state[parameter] = {
                key: moment if key == 'step' else part_like(moment, parameter)
                for key, moment in moments.items()
            }
    return int(facts['step'])


def _fixed(settings: FinetuneSettings) -> dict[str, object]:
    return {name: value for name, value in asdict(settings).items() if name not in _FREE}


def _require_same_run(
    path: Path, facts: Mapping[str, str], settings: FinetuneSettings, base: str
) -> None:
    if facts['base'] != base:
        raise TrainingError(
            f'{path} was trained from {facts["base"]}, this run is from {base}; give it another '
            'directory with --out.'
        )
    # A setting that did not exist when the run began had the value that is its default now.
    before = _fixed(FinetuneSettings()) | json.loads(facts['settings'])
    for name, value in _fixed(settings).items():
        if before[name] != value:
            raise TrainingError(
                f'{path} was trained with {name} {before[name]!r}, wanted is {value!r}; give '
                'this run another directory with --out.'
            )
