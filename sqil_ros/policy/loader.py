# SPDX-License-Identifier: Apache-2.0
"""From the name of a policy to a policy that may act on this robot, or a named refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError, ProfileError
from sqil_ros.policy.base import Policy
from sqil_ros.policy.manifest import CheckpointManifest, read_manifest
from sqil_ros.policy.openvla.statistics import read_normalizer
from sqil_ros.policy.scripted import CirclePolicy, ImageMeanPolicy

BUILTIN = 'builtin:'
FULL_PRECISION = 'fp'
_PROFILE_NAME = re.compile(r'[a-z0-9]+_[a-z0-9_]+')
_BUILTINS: dict[str, Callable[[str], Policy]] = {
    'image_mean': ImageMeanPolicy,
    'circle': CirclePolicy,
}


def load_policy(
    checkpoint: str | Path,
    profile: str,
    contract: Contract,
    device: str = 'cpu',
    engine: str = 'auto',
    act_only: bool = False,
) -> Policy:
    """Load a policy that was made for this robot.

    Args:
        checkpoint: directory of a trained policy, or ``builtin:<name>``.
        profile: precision of its weights, ``fp`` or ``<width>_<method>``.
        contract: of the robot at hand.
        device: torch device.
        engine: ``auto`` for native code (on a GPU a CUDA graph) where it can compute the policy,
            or ``torch``.
        act_only: keep no weight twice; where the engine computes, torch then cannot.

    Raises:
        CheckpointError: missing, truncated, altered, or of an unknown architecture.
        ContractMismatch: made for another robot.
        ProfileError: the profile is unknown, corrupt or does not fit.
        ParameterError: there is no such engine.
        EngineError: the device is not there, or its memory does not suffice.
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

    return load_openvla(directory, profile, contract, device, engine, act_only)


def check_checkpoint(directory: Path, contract: Contract) -> CheckpointManifest:
    """Everything that can be wrong with a checkpoint and is seen without reading its weights.

    Raises:
        CheckpointError: missing, truncated or altered, or its statistics are not usable.
        ContractMismatch: made for another robot.
    """
    manifest = read_manifest(directory)
    contract.require_hash(manifest.contract_hash, f'Checkpoint {directory}')
    _check_statistics(directory, manifest.dataset)
    return manifest


def check_profile(checkpoint: str, profile: str, contract: Contract) -> None:
    """Refuse a profile without reading its weights; quick enough for a parameter callback.

    Raises:
        ProfileError: the name is malformed, or the checkpoint has no such sound profile.
    """
    if profile == FULL_PRECISION:
        return
    if not _PROFILE_NAME.fullmatch(profile):
        raise ProfileError(
            f'{profile!r} is no name of a profile; use fp or <width>_<method> such as int4_rtn.'
        )
    directory = checkpoint_directory(checkpoint)
    if directory is not None:
        from sqil_ros.quant.profile import find_profile  # torch only when it is needed

        find_profile(directory, profile, contract.hash)


def checkpoint_directory(checkpoint: str) -> Path | None:
    """Where the checkpoint lies; ``None`` for a built-in policy."""
    return None if checkpoint.startswith(BUILTIN) else Path(checkpoint).expanduser()


def has_logits(checkpoint: str) -> bool:
    """Whether a policy can say how likely other answers are, without reading its weights.

    Raises:
        CheckpointError: its configuration is not readable.
    """
    directory = checkpoint_directory(checkpoint)
    if directory is None:
        return False
    path = directory / 'config.json'
    try:
        config = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f'{path} is not readable ({error}); fetch the checkpoint again.'
        ) from error
    return bool(config.get('head', 'tokens') == 'tokens')


def module_of(checkpoint: str) -> str:
    """What takes seconds to import before a checkpoint can be loaded; empty if nothing does."""
    return '' if checkpoint_directory(checkpoint) is None else 'sqil_ros.policy.openvla.checkpoint'


def _builtin(name: str, profile: str) -> Policy:
    if name not in _BUILTINS:
        raise CheckpointError(
            f'There is no built-in policy {name!r}; choose one of {sorted(_BUILTINS)}.'
        )
    return _BUILTINS[name](profile)


def _check_statistics(directory: Path, dataset: str) -> None:
    """Refuse statistics that would scale actions wrongly without any error further down."""
    action = read_normalizer(directory, dataset, 'action')
    shapes = (action.q01.shape, action.q99.shape, action.mask.shape)
    if set(shapes) != {(7,)} or not np.all((action.q01 < action.q99)[action.mask]):
        raise CheckpointError(
            f'{directory}: action statistics of {dataset!r} have q01 {action.q01.tolist()} and '
            f'q99 {action.q99.tolist()}; they must be seven numbers each with q01 below q99 '
            'where the mask holds. Compute the statistics again.'
        )
