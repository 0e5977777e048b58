# SPDX-License-Identifier: Apache-2.0
"""Published OpenVLA checkpoints: every tensor arrives, and what is not one is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError
from sqil_ros.policy.loader import load_policy
from sqil_ros.policy.openvla.config import OpenVLAConfig
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.published import __main__ as command
from sqil_ros.policy.openvla.published import folder as published_folder
from sqil_ros.policy.openvla.published.names import DINO, SIGLIP, source_of, to_published
from sqil_ros.policy.openvla.tokenizer import train_tokenizer

NAMES = list(published_folder.HEADS)
STATISTICS = {'action': {'q01': [-1.0] * 6 + [0.0], 'q99': [1.0] * 7, 'mean': [0.0] * 7}}
SIZES = {'num_attention_heads': 2, 'image_size': 28, 'patch_size': 14, 'num_hidden_layers': 2}


@pytest.fixture
def network(monkeypatch) -> OpenVLA:
    monkeypatch.setattr(published_folder, 'HEADS', dict.fromkeys(NAMES, 2))
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
    )
    torch.manual_seed(0)
    model = OpenVLA(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter).bfloat16().float())
    # A published class token has its position in it, and there is no mask token.
    model.dino.embeddings.position_embeddings[:, 0] = 0.0
    model.dino.embeddings.mask_token.zero_()
    return model


@pytest.fixture
def folder(network, tmp_path) -> Path:
    """In two shards, with what a published network has and does not use."""
    path = tmp_path / 'openvla-7b'
    path.mkdir()
    tensors = to_published(network.state_dict())
    for prefix in (DINO, SIGLIP):
        last = {n: t for n, t in tensors.items() if n.startswith(f'{prefix}blocks.1.')}
        tensors |= {n.replace('blocks.1.', 'blocks.2.'): t.clone() for n, t in last.items()}
        tensors[f'{prefix}norm.weight'] = torch.ones(3)
    tensors[f'{SIGLIP}attn_pool.latent'] = torch.ones(1, 1, 24)
    names = sorted(tensors)
    files = {name: f'part-{i % 2}.safetensors' for i, name in enumerate(names)}
    for file in set(files.values()):
        part = {name: tensors[name].contiguous() for name in names if files[name] == file}
        save_file(part, path / file)
    (path / published_folder.INDEX).write_text(json.dumps({'weight_map': files}))
    config = {
        'model_type': 'openvla',
        'timm_model_ids': NAMES,
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


def run(folder, *more, dataset='bridge_orig'):
    out = folder.with_name('imported')
    words = ['--from', folder, '--dataset', dataset, '--out', out, *more]
    return command.main([str(word) for word in words]), out


def test_every_tensor_arrives_and_the_policy_acts(network, folder, observation, monkeypatch):
    monkeypatch.setattr(command, 'SHARD_BYTES', 20_000)
    status, out = run(folder)
    assert status == 0
    assert len(list(out.glob('model-*.safetensors'))) > 1
    policy = load_policy(out, 'fp', Contract.load())
    found = policy.model.state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(found[name], tensor), name
    assert policy.model.config.siglip_config().hidden_act == 'gelu'
    assert policy.model.config.n_images == 1 and policy.model.config.bin_choice == 'argmax'
    assert policy.act(observation).actions.shape == (1, 7)
    statistics = json.loads((out / 'dataset_statistics.json').read_text())['bridge_orig']
    assert statistics['action']['mask'] == [True] * 6 + [False], 'the gripper is not scaled'


def test_names_of_the_published_network_are_met():
    """As they are listed in the index of openvla-7b on its page."""
    pairs = {
        'dino.encoder.layer.7.attention.v_proj.bias': (f'{DINO}blocks.7.attn.qkv.bias', 2),
        'dino.encoder.layer.7.layer_scale2.lambda1': (f'{DINO}blocks.7.ls2.scale_factor', None),
        'dino.encoder.layer.0.attention.o_proj.weight': (f'{DINO}blocks.0.attn.proj.weight', None),
        'siglip.encoder.layers.3.self_attn.q_proj.weight': (
            f'{SIGLIP}blocks.3.attn.qkv.weight', 0,
        ),
        'siglip.encoder.layers.3.layer_norm2.bias': (f'{SIGLIP}blocks.3.norm2.bias', None),
        'siglip.encoder.layers.3.mlp.fc1.weight': (f'{SIGLIP}blocks.3.mlp.fc1.weight', None),
        'siglip.embeddings.patch_embedding.bias': (f'{SIGLIP}patch_embed.proj.bias', None),
        'projector.fc3.weight': ('projector.fc3.weight', None),
        'language_model.lm_head.weight': ('language_model.lm_head.weight', None),
    }  # fmt: skip
    for ours, (name, third) in pairs.items():
        assert (source_of(ours).name, source_of(ours).third) == (name, third)


def test_a_rehearsal_writes_nothing_and_an_old_checkpoint_stays(folder, capsys):
    status, out = run(folder, '--dry-run')
    assert status == 0 and not out.exists()
    assert 'would write' in capsys.readouterr().out
    out.mkdir()
    status, _ = run(folder)
    assert status == 1 and not list(out.iterdir())
    assert 'is there already' in capsys.readouterr().err


def _config(folder):
    return json.loads((folder / 'config.json').read_text())


def _edit(folder, **changes):
    (folder / 'config.json').write_text(json.dumps(_config(folder) | changes))


def _rename_one(folder):
    path = folder / 'part-0.safetensors'
    tensors = load_file(path)
    index = folder / published_folder.INDEX
    name = next(name for name in tensors if 'language_model.model.layers' in name)
    tensors['action_head.weight'] = tensors.pop(name)
    save_file(tensors, path)
    index.write_text(index.read_text().replace(f'"{name}"', '"action_head.weight"'))


@pytest.mark.parametrize('spoil, words', [
    (lambda f: (f / 'part-1.safetensors').unlink(), 'lacks part-1.safetensors'),
    (lambda f: (f / published_folder.INDEX).unlink(), 'Pickled weights'),
    (lambda f: (f / 'config.json').write_text('{'), 'cannot be read'),
    (lambda f: (f / 'tokenizer.json').unlink(), 'tokenizer.json is missing'),
    (lambda f: _edit(f, model_type='llava'), "'llava'"),
    (lambda f: _edit(f, timm_model_ids=[NAMES[0], 'vit_huge']), 'vit_huge is unknown'),
    (lambda f: _edit(f, image_sizes=[28, 42]), 'one size'),
    (lambda f: _edit(f, text_config=_config(f)['text_config'] | {'hidden_size': 64}), 'shape'),
    (_rename_one, 'are missing, such as language_model'),
    (lambda f: (f / 'part-0.safetensors').write_bytes(b'torn'), 'part-0'),
])  # fmt: skip
def test_what_is_not_whole_is_named_and_nothing_is_left(folder, spoil, words, capsys):
    spoil(folder)
    status, out = run(folder)
    assert status == 1 and words in capsys.readouterr().err
    assert not out.exists() and not list(out.parent.glob('.*partial'))


def test_an_unknown_data_set_is_refused_with_those_there_are(folder, capsys):
    status, _ = run(folder, dataset='fractal')
    assert status == 1 and 'it has bridge_orig' in capsys.readouterr().err


def test_a_layer_that_a_published_network_lacks_is_named():
    with pytest.raises(CheckpointError, match='no place'):
        source_of('proprio_projector.fc1.weight')
