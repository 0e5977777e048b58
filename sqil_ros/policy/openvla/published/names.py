# SPDX-License-Identifier: Apache-2.0
"""Where each of our tensors is in a published checkpoint.

A published network has its vision encoders from timm: query, key and value are one matrix, the
DINOv2 positions have none for the class token (it is in the token itself), the encoders have one
block more than is read, and norms and pooling behind it that are not used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sqil_ros.errors import CheckpointError
from sqil_ros.policy.openvla.published.components import HEAD, PROPRIO

DINO, SIGLIP = 'vision_backbone.featurizer.', 'vision_backbone.fused_featurizer.'

_QKV = ('q_proj', 'k_proj', 'v_proj')
_BLOCK = {
    'attention.o_proj': 'attn.proj',
    'self_attn.out_proj': 'attn.proj',
    'layer_norm1': 'norm1',
    'layer_norm2': 'norm2',
}
_WHOLE = {
    'dino.embeddings.cls_token': f'{DINO}cls_token',
    'dino.embeddings.register_tokens': f'{DINO}reg_token',
    'dino.embeddings.position_embeddings': f'{DINO}pos_embed',
    'siglip.embeddings.position_embedding.weight': f'{SIGLIP}pos_embed',
}
_PATCH = {
    'dino.embeddings.patch_embeddings.projection.': f'{DINO}patch_embed.proj.',
    'siglip.embeddings.patch_embedding.': f'{SIGLIP}patch_embed.proj.',
}
_UNUSED = re.compile(
    rf'({re.escape(DINO)}|{re.escape(SIGLIP)})(norm\.|fc_norm\.|attn_pool\.|blocks\.)'
    # Beside a regression head nobody asks for words; where they are asked for, it is used.
    r'|language_model\.lm_head\.'
)
_HEAD = {
    'norm1': 'layer_norm1',
    'norm2': 'layer_norm2',
    'blocks': 'mlp_resnet_blocks',
    'norm': 'ffn.0',
    'linear': 'ffn.1',
}
_ENCODER = re.compile(r'(dino|siglip)\.encoder\.layers?\.(\d+)\.(.*)\.(\w+)')


@dataclass(frozen=True)
class Source:
    """A tensor, or a third of the rows of one.

    Attributes:
        name: in the published checkpoint; empty for a tensor that is not there and not used.
        third: 0, 1 or 2 for the rows of query, key or value; None for all rows.
    """

    name: str
    third: int | None = None


def source_of(name: str) -> Source:
    """Where one of our tensors comes from.

    Args:
        name: in ``OpenVLA.state_dict()``.
    """
    if name.startswith(('language_model.', 'projector.', f'{PROPRIO}.')):
        return Source(name)
    if name.startswith(f'{HEAD}.'):
        head, *parts = name.split('.')
        return Source('.'.join([head, 'model', *(_HEAD.get(part, part) for part in parts)]))
    if name == 'dino.embeddings.mask_token':
        return Source('')
    if name in _WHOLE:
        return Source(_WHOLE[name])
    for ours, theirs in _PATCH.items():
        if name.startswith(ours):
            return Source(theirs + name.removeprefix(ours))
    found = _ENCODER.fullmatch(name)
    if found is None:
        raise CheckpointError(f'{name} has no place in a published OpenVLA; choose another model.')
    encoder, block, layer, kind = found.groups()
    prefix = f'{DINO if encoder == "dino" else SIGLIP}blocks.{block}.'
    part = layer.rpartition('.')[2]
    if part in _QKV:
        return Source(f'{prefix}attn.qkv.{kind}', _QKV.index(part))
    if part in ('layer_scale1', 'layer_scale2'):
        return Source(f'{prefix}ls{part[-1]}.scale_factor')
    return Source(f'{prefix}{_BLOCK.get(layer, layer)}.{kind}')


def to_ours(name: str, shape: torch.Size, read: Callable[[str], Tensor]) -> Tensor:
    """One of our tensors out of a published checkpoint.

    Args:
        name: in ``OpenVLA.state_dict()``.
        shape: that it must have.
        read: gives a published tensor by name.

    Raises:
        CheckpointError: it has another shape there.
    """
    source = source_of(name)
    if not source.name:
        return torch.zeros(shape)
    found = read(source.name)
    if source.third is not None:
        found = found.chunk(3)[source.third]
    if name == 'dino.embeddings.position_embeddings':
        found = torch.cat([torch.zeros_like(found[:, :1]), found], dim=1)
    elif name == 'siglip.embeddings.position_embedding.weight':
        found = found[0]
    if found.shape != shape:
        raise CheckpointError(
            f'{source.name} makes {name} of shape {tuple(found.shape)}, the network needs '
            f'{tuple(shape)}; config.json and weights are of different models. Fetch both again.'
        )
    return found


def to_published(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of :func:`to_ours` for all tensors; what a network does not use is not there."""
    found: dict[str, Tensor] = {}
    thirds: dict[str, dict[int, Tensor]] = {}
    for name, tensor in ours.items():
        source = source_of(name)
        if source.third is not None:
            thirds.setdefault(source.name, {})[source.third] = tensor
        elif name == 'dino.embeddings.position_embeddings':
            found[source.name] = tensor[:, 1:]
        elif name == 'siglip.embeddings.position_embedding.weight':
            found[source.name] = tensor[None]
        elif source.name:
            found[source.name] = tensor
    class_position = ours['dino.embeddings.position_embeddings'][:, :1]
    found[f'{DINO}cls_token'] = found[f'{DINO}cls_token'] + class_position
    return found | {name: torch.cat([q[0], q[1], q[2]]) for name, q in thirds.items()}


def check_names(ours: Iterable[str], theirs: Iterable[str]) -> None:
    """Refuse a checkpoint that lacks a tensor, or has one that would be left out by mistake.

    Raises:
        CheckpointError: naming it.
    """
    wanted, there = {source_of(name).name for name in ours} - {''}, set(theirs)
    if missing := sorted(wanted - there):
        raise CheckpointError(
            f'{len(missing)} tensors are missing, such as {missing[0]}; fetch all files.'
        )
    if strangers := sorted(name for name in there - wanted if not _UNUSED.match(name)):
        raise CheckpointError(
            f'{len(strangers)} tensors are unknown, such as {strangers[0]}; this package reads '
            'OpenVLA with DINOv2, SigLIP and Llama 2.'
        )
