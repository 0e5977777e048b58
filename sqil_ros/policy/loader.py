# SPDX-License-Identifier: Apache-2.0
"""From the name of a policy to a policy that may act on this robot, or a named refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError
from sqil_ros.policy.base import Policy
from sqil_ros.policy.manifest import CheckpointManifest, read_manifest
from sqil_ros.policy.scripted import CirclePolicy, ImageMeanPolicy

BUILTIN = 'builtin:'
STATISTICS_NAME = 'dataset_statistics.json'
_BUILTINS: dict[str, Callable[[str], Policy]] = {
    'image_mean': ImageMeanPolicy,
    'circle': CirclePolicy,
}


def load_policy(
    checkpoint: str | Path, profile: str, contract: Contract, device: str = 'cpu'
) -> Policy:
    """Load a policy that was made for this robot.

    Args:
        checkpoint: directory of a trained policy, or ``builtin:<name>``.
        profile: precision of its weights, ``fp`` or ``<width>_<method>``.
        contract: of the robot at hand.
        device: torch device.

    Raises:
        CheckpointError: missing, truncated, altered, or of an unknown architecture.
        ContractMismatch: made for another robot.
        ProfileError: the profile is unknown, corrupt or does not fit.
    """
    name = str(checkpoint)
    if name.startswith(BUILTIN):
        return _builtin(name.removeprefix(BUILTIN), profile)
    directory = Path(name).expanduser()
    manifest = check_checkpoint(directory, contract)
    if manifest.architecture != 'openvla':
        raise CheckpointError(
            f'{directory} is of architecture {manifest.architecture!r}; this package loads '
            "'openvla'. Choose another checkpoint."
        )
    from sqil_ros.policy.openvla.checkpoint import load_openvla  # torch only when it is needed

    return load_openvla(directory, profile, contract, device)


def check_checkpoint(directory: Path, contract: Contract) -> CheckpointManifest:
    """Everything that can be wrong with a checkpoint and is seen without reading its weights.

    Raises:
        CheckpointError: missing, truncated or altered, or its statistics are not usable.
        ContractMismatch: made for another robot.
    """
    manifest = read_manifest(directory)
    contract.require_hash(manifest.contract_hash, f'Checkpoint {directory}')
    _check_statistics(directory / STATISTICS_NAME, manifest.dataset)
    return manifest


def checkpoint_directory(checkpoint: str) -> Path | None:
    """Where the checkpoint lies; ``None`` for a built-in policy."""
    return None if checkpoint.startswith(BUILTIN) else Path(checkpoint).expanduser()


def _builtin(name: str, profile: str) -> Policy:
    if name not in _BUILTINS:
        raise CheckpointError(
            f'There is no built-in policy {name!r}; choose one of {sorted(_BUILTINS)}.'
        )
    return _BUILTINS[name](profile)


def _check_statistics(path: Path, dataset: str) -> None:
    """Refuse statistics that would scale actions wrongly without any error further down."""
    if not path.is_file():
        raise CheckpointError(f'{path} is missing; fetch the whole checkpoint again.')
    try:
        statistics = json.loads(path.read_text(encoding='utf-8'))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f'{path} is not JSON ({error}); fetch the file again.') from error
    if not isinstance(statistics, dict) or dataset not in statistics:
        found = sorted(statistics) if isinstance(statistics, dict) else type(statistics).__name__
        raise CheckpointError(
            f'{path} holds statistics of {found}, the checkpoint was trained on {dataset!r}; '
            'put the statistics of its training data there.'
        )
    action = statistics[dataset].get('action', {})
    low, high = (np.asarray(action.get(key, []), dtype=float) for key in ('q01', 'q99'))
    if low.shape != (7,) or high.shape != (7,) or not np.all(low < high):
        raise CheckpointError(
            f'{path}: action q01 {low.tolist()} and q99 {high.tolist()} of {dataset!r} must be '
            'seven numbers each with q01 below q99; compute the statistics again.'
        )
