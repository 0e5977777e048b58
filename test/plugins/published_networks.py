# SPDX-License-Identifier: Apache-2.0
"""Small networks in the layout in which OpenVLA and OpenVLA-OFT publish theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sqil_ros.policy.openvla.config import OpenVLAConfig
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.published import folder as published_folder
from sqil_ros.policy.openvla.published.names import DINO, SIGLIP, to_published
from sqil_ros.policy.openvla.tokenizer import train_tokenizer

STATISTICS = {'action': {'q01': [-1.0] * 6 + [0.0], 'q99': [1.0] * 7, 'mean': [0.0] * 7}}
SIZES = {'num_attention_heads': 2, 'image_size': 28, 'patch_size': 14, 'num_hidden_layers': 2}
COMPONENTS = ('action_head', 'proprio_projector')


def published_network(**changes: Any) -> OpenVLA:
    config = OpenVLAConfig(
        dino=SIZES | {'hidden_size': 16, 'mlp_ratio': 4, 'num_register_tokens': 4},
        siglip=SIZES | {'hidden_size': 24, 'intermediate_size': 40, 'hidden_act': 'gelu'},
        text={
            'hidden_size': 32,
            'intermediate_size': 48,
            'num_hidden_layers': 1,
            'num_attention_heads': 2,
            'vocab_size': 832,
        },
        text_vocab_size=768,
        projector_hidden=160,
        **changes,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = OpenVLA(config).eval().requires_grad_(False)
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter).bfloat16().float())
    # A published class token has its position in it, and there is no mask token.
    model.dino.embeddings.position_embeddings[:, 0] = 0.0
    model.dino.embeddings.mask_token.zero_()
    return model


def write_published(network: OpenVLA, path: Path) -> Path:
    """In two shards, with what a published network has and does not use; components beside it."""
    path.mkdir()
    tensors = to_published(network.state_dict())
    for prefix in (DINO, SIGLIP):
        last = {n: t for n, t in tensors.items() if n.startswith(f'{prefix}blocks.1.')}
        tensors |= {n.replace('blocks.1.', 'blocks.2.'): t.clone() for n, t in last.items()}
        tensors[f'{prefix}norm.weight'] = torch.ones(3)
    tensors[f'{SIGLIP}attn_pool.latent'] = torch.ones(1, 1, 24)
    tensors.setdefault('language_model.lm_head.weight', torch.ones(832, 32))
    for component in COMPONENTS:
        own = {n: t for n, t in tensors.items() if n.startswith(f'{component}.')}
        if own:
            # As a component is named that was trained on several GPUs.
            part = {f'module.{n.removeprefix(f"{component}.")}': t for n, t in own.items()}
            save_file(part, path / f'{component}--150000_checkpoint.safetensors')
        tensors = {n: t for n, t in tensors.items() if n not in own}
    names = sorted(tensors)
    files = {name: f'part-{i % 2}.safetensors' for i, name in enumerate(names)}
    for file in set(files.values()):
        part = {name: tensors[name].contiguous() for name in names if files[name] == file}
        save_file(part, path / file)
    (path / published_folder.INDEX).write_text(json.dumps({'weight_map': files}))
    config = {
        'model_type': 'openvla',
        'timm_model_ids': list(published_folder.HEADS),
        'timm_override_act_layers': [None, None],
        'use_fused_vision_backbone': True,
        'image_sizes': [28, 28],
        'n_action_bins': 256,
        'pad_to_multiple_of': 64,
        'text_config': network.config.text | {'model_type': 'llama', 'pad_token_id': 0},
        'norm_stats': {'bridge_orig': STATISTICS},
    }
    (path / 'config.json').write_text(json.dumps(config))
    train_tokenizer().save(str(path / 'tokenizer.json'))
    return path
