# SPDX-License-Identifier: Apache-2.0
"""Profiles on disk: a policy's weights at another width, whole in themselves.

``<checkpoint>/profiles/<name>/`` holds ``profile.yaml`` and ``weights.safetensors``: packed layers
and everything else at 16 bits, so INT4 never needs the full-precision weights.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from sqil_ros.digest import sha256_of, weights_digest
from sqil_ros.errors import ProfileError
from sqil_ros.quant.activations import Activations
from sqil_ros.quant.back_ends import AUTO
from sqil_ros.quant.manifest import (
    FULL_PRECISION,
    MANIFEST_NAME,
    FileEntry,
    LayerGroup,
    Profile,
    check_name,
    read_manifest,
    write_manifest,
)
from sqil_ros.quant.primitives import WHOLE_ROW, Quantized
from sqil_ros.quant.size import model_bytes, packed_layers
from sqil_ros.quant.tensor_file import TensorFile
from sqil_ros.quant.weights import LowRank, profile_tensors, put_tensors, skeleton

PROFILES_DIRECTORY = 'profiles'
WEIGHTS_NAME = 'weights.safetensors'
# A parameter callback must answer at once, so a larger file is hashed only when it is loaded.
QUICK_BYTES = 64 << 20


def list_profiles(checkpoint: Path) -> list[str]:
    """Names of the profiles a checkpoint offers, full precision first."""
    paths = (checkpoint / PROFILES_DIRECTORY).glob(f'*/{MANIFEST_NAME}')
    names = sorted(path.parent.name for path in paths)
    return [FULL_PRECISION, *(name for name in names if not name.startswith('.'))]


def find_profile(checkpoint: Path, name: str, contract: str) -> Path:
    """Directory of a profile that is sound, for this robot and from these weights.

    Quick enough for a parameter callback: files above 64 MiB are checked by size here and by
    hash in :func:`apply_profile`.

    Args:
        checkpoint: directory of the policy.
        name: ``<width>_<method>``.
        contract: hash of the robot's contract.

    Raises:
        ProfileError: unknown, incomplete, altered, of other weights or of another robot.
    """
    check_name(name)
    directory = checkpoint / PROFILES_DIRECTORY / name
    if not (directory / MANIFEST_NAME).is_file():
        raise ProfileError(
            f'{checkpoint} has no profile {name!r}; it offers '
            f'{", ".join(list_profiles(checkpoint))}. Make it with sqil-quantize.'
        )
    profile = read_profile(directory, contract, quick=True)
    if profile.name != name:
        raise ProfileError(f'{directory} holds a profile named {profile.name!r}; rename it.')
    base = weights_digest(checkpoint)
    if profile.base != base:
        raise ProfileError(
            f'Profile {directory} was made from weights {profile.base[:12]}..., the checkpoint '
            f'has {base[:12]}...; quantise this checkpoint anew with sqil-quantize.'
        )
    return directory


def read_profile(directory: Path, contract: str | None = None, quick: bool = False) -> Profile:
    """Read a manifest and verify the files that it names.

    Args:
        directory: of the profile.
        contract: hash that the profile must carry; None to accept any.
        quick: check large files by size only.

    Raises:
        ProfileError: the manifest is malformed, a file is missing, truncated or altered, or the
            contract is another.
    """
    profile = read_manifest(directory)
    if contract is not None and profile.contract != contract:
        raise ProfileError(
            f'Profile {directory} was made under contract {profile.contract}, this robot runs '
            f'{contract}; quantise a checkpoint of this robot.'
        )
    for name, entry in profile.files.items():
        _verify(directory / name, entry, quick)
    return profile


def write_profile(
    parent: Path,
    name: str,
    model: nn.Module,
    groups: Mapping[str, Mapping[str, Quantized]],
    *,
    method: str,
    base: str,
    contract: str,
    rest_dtype: torch.dtype = torch.bfloat16,
    back_end: str = AUTO,
    measured: Mapping[str, Any] | None = None,
    activations: Activations | None = None,
    beside: Mapping[str, LowRank] | None = None,
) -> Profile:
    """Write ``parent/name``, whole or not at all; an older profile of the name is replaced.

    Args:
        parent: ``<checkpoint>/profiles``.
        name: ``<width>_<method>``.
        model: gives everything that is not quantised; it is not changed.
        groups: integer weights by layer name, by group.
        method: how the weights were rounded.
        base: :func:`sqil_ros.digest.weights_digest` of the full-precision weights.
        contract: hash of the robot's contract.
        rest_dtype: type of the parameters that are not quantised.
        back_end: preferred back-end.
        measured: figures for the manifest; ``memory_bytes`` is added.
        activations: how the inputs of quantised layers are rounded; None for not at all.
        beside: a low-rank change of every quantised layer, all of one rank; None for none.

    Raises:
        ProfileError: a group mixes grids, the name and the widths disagree, or what was written
            does not read back.
    """
    check_name(name)
    partial = parent / f'.{name}.partial'
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    layers = {layer: q for group in groups.values() for layer, q in group.items()}
    rule = None if activations is None else activations.rule
    try:
        weights = partial / WEIGHTS_NAME
        save_file(profile_tensors(model, layers, rest_dtype, activations, beside), weights)
        weights.chmod(0o644)  # a robot's account reads what a researcher's wrote
        profile = Profile(
            name=name,
            method=method,
            groups=tuple(
                dataclasses.replace(_layer_group(name, layers), rank=_rank(beside), inputs=rule)
                for name, layers in groups.items()
            ),
            rest_dtype=str(rest_dtype).removeprefix('torch.'),
            back_end=back_end,
            base=base,
            contract=contract,
            files={WEIGHTS_NAME: FileEntry(sha256_of(weights), weights.stat().st_size)},
            measured=dict(measured or {}),
        )
        write_manifest(partial, profile)
        memory = _read_back(partial, model, layers)
        measured = {**profile.measured, 'memory_bytes': memory}
        profile = dataclasses.replace(profile, measured=measured)
        write_manifest(partial, profile)
        install(partial, parent / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return profile


def apply_profile(model: nn.Module, directory: Path, back_end: str | None = None) -> Profile:
    """Give ``model`` the weights of a profile: all of them, or none if anything is wrong.

    What the model's weights were does not matter; they may be on the ``meta`` device, so that a
    large model never exists in full precision. Parameters keep the model's dtype and device.

    Args:
        model: a network of the profile's architecture.
        directory: of the profile.
        back_end: used instead of the profile's preference.

    Raises:
        ProfileError: the profile is unsound or does not fit the model.
    """
    profile = read_profile(directory)
    path = directory / WEIGHTS_NAME
    tables = [f'{n}.weight' for n, part in model.named_modules() if isinstance(part, nn.Embedding)]
    with TensorFile(path, tables) as tensors:
        try:
            put_tensors(model, tensors, profile.groups, back_end or profile.back_end)
        except ProfileError as error:
            raise ProfileError(f'{path}: {error}') from error
    return profile


def install(partial: Path, final: Path) -> None:
    """Rename a folder into place; whoever reads the old files now keeps reading the old files."""
    retired = final.with_name(f'.{final.name}.retired')
    shutil.rmtree(retired, ignore_errors=True)
    if final.exists():
        final.replace(retired)
    partial.replace(final)
    shutil.rmtree(retired, ignore_errors=True)


def _read_back(directory: Path, model: nn.Module, layers: Mapping[str, Quantized]) -> int:
    """Memory of the model that the files give; they must give the integers that were meant."""
    twin = skeleton(model)
    apply_profile(twin, directory)
    packed = packed_layers(twin)
    for name, quantized in layers.items():
        if not _equal(packed[name].quantized, quantized):
            raise ProfileError(f'{directory} does not give back the integers of layer {name}')
    return model_bytes(twin).total


def _equal(found: Quantized, meant: Quantized) -> bool:
    codes = torch.equal(found.codes, meant.codes.cpu())
    if found.zero is None or meant.zero is None:
        zeros = found.zero is meant.zero
    else:
        zeros = torch.equal(found.zero, meant.zero.cpu())
    return codes and zeros and torch.equal(found.scale, meant.scale.cpu().float())


def _rank(beside: Mapping[str, LowRank] | None) -> int:
    ranks = {len(change.down) for change in (beside or {}).values()}
    if len(ranks) > 1:
        raise ProfileError(f'low-rank changes of ranks {sorted(ranks)}; one rank is needed.')
    return ranks.pop() if ranks else 0


def _layer_group(name: str, layers: Mapping[str, Quantized]) -> LayerGroup:
    widths = {quantized.bits for quantized in layers.values()}
    if len(widths) != 1:
        raise ProfileError(f'group {name} has widths {sorted(widths)}; give each its own group')
    # One group per row is a whole row, so layers of one size may differ by name only.
    grid = max((q.grid for q in layers.values()), key=lambda grid: grid.group_size)
    for layer, quantized in layers.items():
        whole = quantized.codes.shape[1] == grid.group_size
        expected = dataclasses.replace(grid, group_size=WHOLE_ROW) if whole else grid
        if quantized.grid != expected:
            raise ProfileError(
                f'group {name} has layers on {grid}, but {layer} is on {quantized.grid}; give '
                'each grid its own group'
            )
    return LayerGroup(name, grid.bits, tuple(layers), grid.group_size, grid.symmetric)


def _verify(path: Path, entry: FileEntry, quick: bool) -> None:
    if not path.is_file():
        raise ProfileError(f'{path} is missing; fetch the whole profile again.')
    size = path.stat().st_size
    if size != entry.size:
        raise ProfileError(
            f'{path} has {size} bytes, the profile says {entry.size}: it is truncated or another '
            'file. Fetch the profile again.'
        )
    if quick and size > QUICK_BYTES:
        return
    found = sha256_of(path)
    if found != entry.sha256:
        raise ProfileError(
            f'{path} has sha256 {found[:12]}..., the profile says {entry.sha256[:12]}...: it was '
            'altered. Fetch the profile again.'
        )
