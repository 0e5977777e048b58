# SPDX-License-Identifier: Apache-2.0
"""A profile as a folder that ``transformers`` reads: every file that it takes, and no more.

<folder>/
    config.json  model.safetensors              as save_pretrained writes them, weights packed
    tokenizer.json  dataset_statistics.json     of the checkpoint
    adapter/                                    low-rank change beside the integers, for peft
    README.md                                   the model card
    profile.yaml                                the profile's manifest with these files; last

Without ``adapter`` the integers alone would be another policy than the profile is.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sqil_ros.digest import sha256_of
from sqil_ros.errors import ProfileError
from sqil_ros.policy.openvla.checkpoint import STATISTICS_FILE, TOKENIZER_FILE
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.manifest import MANIFEST_NAME, FileEntry, Profile, write_manifest
from sqil_ros.quant.primitives import Quantized
from sqil_ros.quant.profile import apply_profile, read_profile
from sqil_ros.quant.selection import linear_layers
from sqil_ros.quant.size import packed_layers
from sqil_ros.quant.weights import LowRank
from sqil_training.exporting.pack_quantized import (
    layer_tensors,
    layer_weights,
    quantization_config,
)
from sqil_training.exporting.peft_adapter import WEIGHTS as ADAPTER_WEIGHTS
from sqil_training.exporting.peft_adapter import adapter_changes, save_adapter

CONFIG, WEIGHTS, ADAPTER, CARD = 'config.json', 'model.safetensors', 'adapter', 'README.md'
MARKS = (CONFIG, MANIFEST_NAME)
"""A checkpoint has only the one, a profile only the other."""


@dataclass(frozen=True)
class Exported:
    """What a folder holds.

    Attributes:
        profile: its manifest.
        layers: integer weights by name of the layer.
        changes: low-rank changes by name of the layer; empty if there are none.
        rest: every other parameter by name.
    """

    profile: Profile
    layers: Mapping[str, Quantized]
    changes: Mapping[str, LowRank]
    rest: Mapping[str, Tensor]


def packed_model(checkpoint: Path, directory: Path) -> OpenVLA:
    """The network of a profile; nothing of it was ever in full precision.

    Raises:
        ProfileError: the profile is unsound or not of this checkpoint.
    """
    with torch.device('meta'):
        model = OpenVLA(OpenVLA.config_class.from_pretrained(checkpoint))
    apply_profile(model, directory, 'reference')
    return model.eval()


def write_weights(folder: Path, checkpoint: Path, profile: Profile, model: nn.Module) -> None:
    """Every file of an export but its card and its manifest.

    Args:
        folder: empty.
        checkpoint: that the profile belongs to.
        profile: its manifest.
        model: see :func:`packed_model`.
    """
    dtype = getattr(torch, profile.rest_dtype)
    packed = packed_layers(model)
    kept = [name for name in linear_layers(model) if name not in packed]
    config = json.loads((checkpoint / CONFIG).read_text(encoding='utf-8'))
    config |= {
        'dtype': profile.rest_dtype,
        'quantization_config': quantization_config(profile.groups, kept),
    }
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / CONFIG).write_text(text + '\n', encoding='utf-8')
    tensors = _rest(model, packed, dtype)
    for name, layer in packed.items():
        parts = layer_tensors(layer.quantized)
        tensors |= {f'{name}.{part}': tensor for part, tensor in parts.items()}
    save_file(tensors, folder / WEIGHTS, metadata={'format': 'pt'})
    changes = _changes(packed)
    if changes:
        save_adapter(folder / ADAPTER, changes, dtype)
    for name in (TOKENIZER_FILE, STATISTICS_FILE):
        shutil.copyfile(checkpoint / name, folder / name)


def seal(folder: Path, profile: Profile, model: nn.Module) -> Profile:
    """Hash all files, write the manifest and read everything back.

    Args:
        folder: complete but for the manifest.
        profile: that was exported.
        model: see :func:`packed_model`.

    Raises:
        ProfileError: the files do not give back what was meant.
    """
    files = {}
    for path in sorted(path for path in folder.rglob('*') if path.is_file()):
        path.chmod(0o644)  # another account may read it
        name = path.relative_to(folder).as_posix()
        files[name] = FileEntry(sha256_of(path), path.stat().st_size)
    sealed = dataclasses.replace(profile, files=files)
    write_manifest(folder, sealed)
    found = read_folder(folder)
    for name, layer in packed_layers(model).items():
        if not _same(found.layers[name], layer.quantized):
            raise ProfileError(f'{folder} does not give back the integers of layer {name}')
    return sealed


def read_folder(folder: Path) -> Exported:
    """Inverse of :func:`write_weights` and :func:`seal`.

    Raises:
        ProfileError: a file is missing, truncated, altered or does not hold what it should.
    """
    profile = read_profile(folder)
    tensors, adapter = _tensors(folder / WEIGHTS), {}
    if any(group.rank for group in profile.groups):
        adapter = _tensors(folder / ADAPTER / ADAPTER_WEIGHTS)
    owners = {layer: group for group in profile.groups for layer in group.layers}
    layers = {name: layer_weights(name, group, tensors) for name, group in owners.items()}
    rest = {name: tensor for name, tensor in tensors.items() if not _is_packed(name, owners)}
    return Exported(profile, layers, adapter_changes(adapter), rest)


def folder_bytes(folder: Path) -> int:
    """Bytes of the weights of an export, packed or not, with its adapter."""
    return sum(path.stat().st_size for path in folder.rglob('*.safetensors'))


def _rest(
    model: nn.Module, packed: Mapping[str, PackedLinear], dtype: torch.dtype
) -> dict[str, Tensor]:
    """What a checkpoint of the model would hold beside its packed layers."""
    rest = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        owner, _, part = name.rpartition('.')
        if owner in packed and part != 'bias':
            continue
        is_weight = isinstance(tensor, nn.Parameter) and tensor.is_floating_point()
        rest[name] = tensor.detach().to(dtype if is_weight else tensor.dtype).clone()
    return rest


def _changes(packed: Mapping[str, PackedLinear]) -> dict[str, LowRank]:
    return {
        name: LowRank(layer.down, layer.up)
        for name, layer in packed.items()
        if layer.down is not None and layer.up is not None
    }


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ProfileError(
            f'{path} is no safetensors file ({error}); export the profile again.'
        ) from error


def _is_packed(name: str, owners: Mapping[str, object]) -> bool:
    owner, _, part = name.rpartition('.')
    return owner in owners and part != 'bias'


def _same(found: Quantized, meant: Quantized) -> bool:
    pairs = [(found.codes, meant.codes), (found.scale, meant.scale)]
    if found.zero is not None and meant.zero is not None:
        pairs.append((found.zero, meant.zero))
    alike = (found.zero is None) == (meant.zero is None)
    return alike and all(torch.equal(one, other) for one, other in pairs)
