# SPDX-License-Identifier: Apache-2.0
"""sqil-export: make a profile of a fine-tuned student.

examples:
  sqil-export --run runs/sqil                               int3_sqil beside the other profiles
  sqil-export --run runs/sqil --variant b3 --dry-run        would be int3_sqil_b3
  sqil-eval --profile int3_sqil --json out/int3_sqil.json

The profile holds packed integers, everything else at 16 bits and, where the run trained a change
beside the integers, its two thin matrices. It is read back before it is put in place.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from sqil_ros.contract import Contract
from sqil_ros.digest import weights_digest
from sqil_ros.errors import SqilError, TrainingError
from sqil_ros.policy.loader import FULL_PRECISION, check_checkpoint, load_policy
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.quant.manifest import profile_name
from sqil_ros.quant.profile import (
    PROFILES_DIRECTORY,
    find_profile,
    read_profile,
    write_profile,
)
from sqil_ros.share import share_directory
from sqil_training.finetune.adapters import MERGED
from sqil_training.finetune.deployed import deployed
from sqil_training.finetune.settings import FinetuneSettings
from sqil_training.finetune.state import STATE
from sqil_training.finetune.student import load_student


def read_run(run: Path) -> tuple[FinetuneSettings, int, dict[str, torch.Tensor]]:
    """Settings, step and learned weights of a run.

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
    step = int(facts['step'])
    return FinetuneSettings(**json.loads(facts['settings']), steps=step), step, weights


def export(
    run: Path, checkpoint: Path, variant: tuple[str, ...], dry_run: bool
) -> tuple[str, Path, int]:
    """Write the profile of a run; returns its name, its directory and its bytes.

    Raises:
        SqilError: run and checkpoint do not belong together, or the profile does not read back.
    """
    contract = Contract.load()
    check_checkpoint(checkpoint, contract)
    settings, step, weights = read_run(run)
    base = read_profile(find_profile(checkpoint, settings.profile, contract.hash))
    student = load_student(checkpoint, settings, contract)
    learned = {n: p for n, p in student.named_parameters() if p.requires_grad}
    if learned.keys() != weights.keys():
        raise TrainingError(
            f'{run} trained {len(weights)} tensors, {checkpoint} has {len(learned)} of that kind; '
            'name the checkpoint that the run was started with.'
        )
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(weights[name])
    result = deployed(student, base)
    # The student itself has other modules where a robot's network has packed layers.
    rest = FULL_PRECISION if settings.adapter == MERGED else settings.profile
    frame = load_policy(checkpoint, rest, contract)
    assert isinstance(frame, OpenVLAPolicy)
    widths = {group.name: group.bits for group in base.groups}
    merged = ('merged',) if settings.adapter == MERGED else ()
    name = profile_name(settings.method, widths, variant=(*merged, *variant))
    directory = checkpoint / PROFILES_DIRECTORY / name
    if dry_run:
        return name, directory, 0
    profile = write_profile(
        directory.parent,
        name,
        frame.model,
        result.groups,
        method=settings.method,
        base=weights_digest(checkpoint),
        contract=contract.hash,
        measured={'steps': step, 'from_profile': settings.profile},
        beside=result.changes,
    )
    return name, directory, profile.disk_bytes


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='sqil-export', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    checkpoint = share_directory() / 'models' / 'toy_sink_openvla'
    parser.add_argument('--run', type=Path, required=True, help='directory of sqil-train')
    parser.add_argument('--checkpoint', type=Path, default=checkpoint, help='the teacher')
    parser.add_argument('--variant', nargs='*', default=[], help='added to the name')
    parser.add_argument('--dry-run', action='store_true', help='check, but write nothing')
    arguments = parser.parse_args(argv)
    try:
        name, directory, size = export(
            arguments.run, arguments.checkpoint, tuple(arguments.variant), arguments.dry_run
        )
    except (SqilError, OSError) as error:
        print(f'sqil-export: {type(error).__name__}: {error}', file=sys.stderr)
        return 1
    if arguments.dry_run:
        print(f'would write {name} to {directory}; nothing was written (--dry-run)')
    else:
        print(f'{name}: {size / 1e6:.2f} MB in {directory}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
