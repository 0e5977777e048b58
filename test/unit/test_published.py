# SPDX-License-Identifier: Apache-2.0
"""Published OpenVLA checkpoints: every tensor arrives, and what is not one is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from published_networks import published_network, write_published
from safetensors.torch import load_file, save_file

from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError
from sqil_ros.policy.loader import load_policy
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.published import __main__ as command
from sqil_ros.policy.openvla.published import folder as published_folder
from sqil_ros.policy.openvla.published.names import DINO, SIGLIP, source_of

NAMES = list(published_folder.HEADS)


@pytest.fixture
def network(monkeypatch) -> OpenVLA:
    monkeypatch.setattr(published_folder, 'HEADS', dict.fromkeys(NAMES, 2))
    return published_network()


@pytest.fixture
def folder(network, tmp_path) -> Path:
    return write_published(network, tmp_path / 'openvla-7b')


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
        source_of('audio_projector.fc1.weight')
