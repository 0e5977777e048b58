# SPDX-License-Identifier: Apache-2.0
"""A published checkpoint's folder: ``config.json``, tokenizer and shards of safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sqil_ros.errors import CheckpointError
from sqil_ros.policy.openvla.config import L1, TOKENS, OpenVLAConfig
from sqil_ros.policy.openvla.published.components import HEAD, PROPRIO, component_tensors
from sqil_ros.policy.openvla.published.names import DINO, SIGLIP

CONFIG, INDEX, SINGLE = 'config.json', 'model.safetensors.index.json', 'model.safetensors'
HEADS = {'vit_large_patch14_reg4_dinov2.lvd142m': 16, 'vit_so400m_patch14_siglip_224': 16}
"""Attention heads by timm's name; shapes do not tell them."""


@dataclass(frozen=True)
class Published:
    """What is there.

    Attributes:
        folder: where.
        config: content of ``config.json``.
        files: file of every tensor, by name.
        inside: names of tensors in their files where these are others.
    """

    folder: Path
    config: dict[str, Any]
    files: dict[str, str]
    inside: dict[str, str] = field(default_factory=dict)

    def read(self, name: str) -> Tensor:
        """One tensor; the others stay on disk.

        Raises:
            CheckpointError: it is missing, or its file is damaged.
        """
        with self._opened(name) as file:
            found: Tensor = file.get_tensor(self.inside.get(name, name))
            return found

    def shape(self, name: str) -> tuple[int, ...]:
        """Of one tensor, without reading it.

        Raises:
            CheckpointError: it is missing, or its file is damaged.
        """
        with self._opened(name) as file:
            return tuple(file.get_slice(self.inside.get(name, name)).get_shape())

    @contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        if name not in self.files:
            raise CheckpointError(f'{self.folder} has no tensor {name}; fetch all files.')
        path = self.folder / self.files[name]
        try:
            with safe_open(path, framework='pt') as file:
                yield file
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f'{name} cannot be read from {path} ({error}); fetch that file again.'
            ) from error


def open_published(folder: Path) -> Published:
    """Look at a folder.

    Raises:
        CheckpointError: it is no published OpenVLA, or not all of it is there.
    """
    config = read_json(folder / CONFIG)
    if config.get('model_type') != 'openvla':
        raise CheckpointError(
            f'{folder / CONFIG} is of model_type {config.get("model_type")!r}; this reads openvla.'
        )
    if (folder / INDEX).is_file():
        files = read_json(folder / INDEX)['weight_map']
    elif (folder / SINGLE).is_file():
        with safe_open(folder / SINGLE, framework='pt') as file:
            files = dict.fromkeys(file.keys(), SINGLE)
    else:
        raise CheckpointError(
            f'{folder} has neither {INDEX} nor {SINGLE}; fetch the checkpoint as safetensors. '
            'Pickled weights (.bin, .pt) are not read.'
        )
    if absent := sorted(file for file in set(files.values()) if not (folder / file).is_file()):
        raise CheckpointError(f'{folder} lacks {", ".join(absent)}; fetch them.')
    parts = component_tensors(folder)
    return Published(
        folder,
        config,
        files | {name: file for name, (file, _) in parts.items()},
        {name: inside for name, (_, inside) in parts.items()},
    )


def network_config(
    published: Published, chunk: int | None = None, cameras: int | None = None
) -> OpenVLAConfig:
    """Our configuration of a published network; sizes are read from its tensors.

    timm's SigLIP of the versions that OpenVLA names uses the exact GELU, not the approximation
    that the original has.

    Args:
        published: its folder.
        chunk: actions at once, which no tensor tells; for OpenVLA-OFT alone, like ``cameras``.
        cameras: pictures, which no tensor tells either.

    Raises:
        CheckpointError: it is of another architecture, or what no tensor tells is not given.
    """
    config, parallel = published.config, f'{HEAD}.model.fc1.weight' in published.files
    if any(parallel != ((given or 0) > 0) for given in (chunk, cameras)):
        raise CheckpointError(
            f'{published.folder} has {"an" if parallel else "no"} action head of OpenVLA-OFT, and '
            f'chunk is {chunk}, cameras {cameras}; with a head give both (--chunk 8 --cameras 2 '
            'for LIBERO as published), otherwise neither.'
        )
    names = config.get('timm_model_ids', [])
    if len(names) != 2 or not config.get('use_fused_vision_backbone'):
        raise CheckpointError(
            f'timm_model_ids is {names}; this package reads DINOv2 and SigLIP together.'
        )
    for name in names:
        if name not in HEADS:
            raise CheckpointError(f'Encoder {name} is unknown; known are {sorted(HEADS)}.')
    sides, activations = config['image_sizes'], config.get('timm_override_act_layers', [])
    if len(set(sides)) != 1 or any(activations):
        raise CheckpointError(
            f'image_sizes {sides} and timm_override_act_layers {activations}: both encoders must '
            'see one size, with the activations they come with.'
        )
    return OpenVLAConfig(
        dino=_encoder(published, DINO, HEADS[names[0]], sides[0])
        | {'num_register_tokens': published.shape(f'{DINO}reg_token')[1]},
        siglip=_encoder(published, SIGLIP, HEADS[names[1]], sides[0])
        | {
            'intermediate_size': published.shape(f'{SIGLIP}blocks.0.mlp.fc1.weight')[0],
            'hidden_act': 'gelu',
        },
        text={k: v for k, v in config.get('text_config', {}).items() if k not in _NOT_SIZES}
        | {'vocab_size': published.shape('language_model.lm_head.weight')[0]},
        text_vocab_size=published.shape('language_model.lm_head.weight')[0]
        - config['pad_to_multiple_of'],
        n_action_bins=config['n_action_bins'],
        projector_hidden=published.shape('projector.fc1.weight')[0],
        n_images=cameras or 1,
        proprio_dim=_proprioception(published),
        head=L1 if parallel else TOKENS,
        chunk=chunk or 1,
        stop_token=_STOP,
    )


def _proprioception(published: Published) -> int:
    name = f'{PROPRIO}.fc1.weight'
    return published.shape(name)[1] if name in published.files else 0


_STOP = 2  # Llama 2's </s>
_NOT_SIZES = ('model_type', 'torch_dtype', 'dtype', 'pad_token_id', '_name_or_path')


def _encoder(published: Published, prefix: str, heads: int, side: int) -> dict[str, Any]:
    width, _, patch, _ = published.shape(f'{prefix}patch_embed.proj.weight')
    blocks = {
        name.split('.')[3] for name in published.files if name.startswith(f'{prefix}blocks.')
    }
    sizes = {
        'hidden_size': width,
        'num_attention_heads': heads,
        'num_hidden_layers': len(blocks) - 1,  # the last one is not read
        'image_size': side,
        'patch_size': patch,
    }
    if prefix == DINO:
        sizes['mlp_ratio'] = published.shape(f'{prefix}blocks.0.mlp.fc1.weight')[0] // width
    return sizes


def read_json(path: Path) -> dict[str, Any]:
    """A file of a published folder.

    Raises:
        CheckpointError: it cannot be read or holds no object.
    """
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise CheckpointError(f'{path} cannot be read ({error}); fetch it again.') from error
    if not isinstance(found, dict):
        raise CheckpointError(f'{path} holds no object; fetch it again.')
    return found
