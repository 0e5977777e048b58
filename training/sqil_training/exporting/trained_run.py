# SPDX-License-Identifier: Apache-2.0
"""From the directory of a training run to a profile, and to the student that it stands for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sqil_ros.contract import Contract
from sqil_ros.digest import weights_digest
from sqil_ros.errors import TrainingError
from sqil_ros.policy.loader import FULL_PRECISION, check_checkpoint, load_policy
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.quant.manifest import Profile, grid_variant, profile_name
from sqil_ros.quant.profile import (
    PROFILES_DIRECTORY,
    find_profile,
    read_profile,
    write_profile,
)
from sqil_training.finetune.adapters import MERGED
from sqil_training.finetune.deployed import deployed
from sqil_training.finetune.settings import FinetuneSettings
from sqil_training.finetune.state import STATE
from sqil_training.finetune.student import load_student

LOG = 'log.jsonl'


@dataclass(frozen=True)
class TrainedRun:
    """What a run has left.

    Attributes:
        settings: of the run, with the steps that were made.
        base: fingerprints of the checkpoint and of the data it was trained from.
        command: that started it; empty where its log does not say.
        weights: learned tensors by name.
    """

    settings: FinetuneSettings
    base: str
    command: str
    weights: Mapping[str, Tensor]

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest of its profile tells about it."""
        settings = dataclasses.asdict(self.settings)
        return {
            'steps': self.settings.steps,
            'from_profile': self.settings.profile,
            'run': {'settings': settings, 'base': self.base, 'command': self.command},
        }


def read_run(run: Path) -> TrainedRun:
    """Read the last state of a run.

    Raises:
        TrainingError: there is no sound state.
    """
    path = run / STATE
    try:
        with safe_open(path, framework='pt') as file:
            facts = file.metadata()
            keys = [key for key in file.keys() if key.startswith('weight.')]  # noqa: SIM118
            weights = {key.removeprefix('weight.'): file.get_tensor(key) for key in keys}
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f'{path} cannot be read ({error}); train with sqil-train --out {run} first.'
        ) from error
    settings = FinetuneSettings(**json.loads(facts['settings']), steps=int(facts['step']))
    return TrainedRun(settings, facts['base'], _command(run / LOG), weights)


def trained_student(run: Path, found: TrainedRun, checkpoint: Path, contract: Contract) -> OpenVLA:
    """The network as it was trained.

    Raises:
        SqilError: run and checkpoint do not belong together.
    """
    check_checkpoint(checkpoint, contract)
    student = load_student(checkpoint, found.settings, contract)
    learned = {n: p for n, p in student.named_parameters() if p.requires_grad}
    if learned.keys() != found.weights.keys():
        raise TrainingError(
            f'{run} trained {len(found.weights)} tensors, {checkpoint} has {len(learned)} of that '
            'kind; name the checkpoint that the run was started with.'
        )
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(found.weights[name])
    return student.eval()  # of LoRA's dropout


def run_profile_name(settings: FinetuneSettings, base: Profile, variant: tuple[str, ...]) -> str:
    """Name of the profile of a run that began with the profile ``base``."""
    widths = {group.name: group.bits for group in base.groups}
    merged = ('merged',) if settings.adapter == MERGED else ()
    grid = grid_variant(base.groups[0].grid, base.inputs)
    return profile_name(settings.method, widths, variant=(*merged, *grid, *variant))


def write_run_profile(
    found: TrainedRun,
    student: OpenVLA,
    checkpoint: Path,
    contract: Contract,
    variant: tuple[str, ...],
) -> Profile:
    """Write the profile of a run beside those of its checkpoint.

    Raises:
        SqilError: the profile does not read back.
    """
    settings = found.settings
    base = read_profile(find_profile(checkpoint, settings.profile, contract.hash))
    result = deployed(student, base)
    # The student itself has other modules where a robot's network has packed layers.
    rest = FULL_PRECISION if settings.adapter == MERGED else settings.profile
    frame = load_policy(checkpoint, rest, contract)
    assert isinstance(frame, OpenVLAPolicy)
    return write_profile(
        checkpoint / PROFILES_DIRECTORY,
        run_profile_name(settings, base, variant),
        frame.model,
        result.groups,
        method=settings.method,
        base=weights_digest(checkpoint),
        contract=contract.hash,
        measured=found.facts,
        activations=result.activations,
        beside=result.changes,
    )


def run_facts(profile: Profile) -> Mapping[str, Any] | None:
    """What the manifest of a profile tells about its run; None where it tells nothing whole."""
    run = profile.measured.get('run')
    if not isinstance(run, dict) or not isinstance(run.get('settings'), dict):
        return None
    return run if {'base', 'command'} <= run.keys() else None


def _command(log: Path) -> str:
    """The command that began a run; empty where nothing tells."""
    try:
        with log.open(encoding='utf-8') as lines:
            first = json.loads(next(lines))
        return str(first['made_by']['command'])
    except (OSError, StopIteration, LookupError, TypeError, ValueError):
        return ''
