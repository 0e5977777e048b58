# SPDX-License-Identifier: Apache-2.0
"""Published OpenVLA-OFT checkpoints: network and components become one policy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from published_networks import STATISTICS, published_network, write_published
from safetensors.torch import load_file, save_file

from sqil_ros.contract import Contract
from sqil_ros.policy.loader import load_policy
from sqil_ros.policy.openvla.checkpoint import load_model
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.published import __main__ as command
from sqil_ros.policy.openvla.published import folder as published_folder
from sqil_ros.policy.openvla.published.components import CONVERT
from sqil_ros.policy.openvla.published.names import source_of

HEAD = 'action_head--150000_checkpoint'
LIBERO = ('--chunk', '8', '--cameras', '2')


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> OpenVLA:
    known = dict.fromkeys(published_folder.HEADS, 2)
    monkeypatch.setattr(published_folder, 'HEADS', known)
    proprio = getattr(request, 'param', 7)
    return published_network(head='l1', chunk=8, n_images=2, proprio_dim=proprio)


@pytest.fixture
def folder(network: OpenVLA, tmp_path: Path) -> Path:
    """With statistics of its own data beside the weights, as a fine-tuned checkpoint has."""
    path = write_published(network, tmp_path / 'oft')
    length = network.config.proprio_dim
    proprio = {'q01': [-1.0] * length, 'q99': [1.0] * length}
    own = {'libero_object': STATISTICS | {'proprio': proprio}}
    (path / 'dataset_statistics.json').write_text(json.dumps(own))
    return path


def run(folder: Path, *more: str, dataset: str = 'libero_object') -> tuple[int, Path]:
    out = folder.with_name('imported')
    words = ['--from', str(folder), '--dataset', dataset, '--out', str(out), *more]
    return command.main(words), out


def test_every_tensor_arrives_and_the_policy_answers_with_chunks(
    network: OpenVLA, folder: Path, observation
) -> None:
    status, out = run(folder, *LIBERO)
    assert status == 0
    policy = load_policy(out, 'fp', Contract.load(), engine='torch')
    found = policy.model.state_dict()
    assert set(found) == set(network.state_dict())
    for name, tensor in network.state_dict().items():
        assert torch.equal(found[name], tensor), name
    assert policy.act(observation).actions.shape == (8, 7)
    assert policy.describe().name == 'openvla-oft-7b'
    assert policy.model.config.stop_token == 2


def test_names_of_the_components_are_met() -> None:
    """As the modules of the release are named (prismatic/models/action_heads.py)."""
    pairs = {
        'action_head.norm1.bias': 'action_head.model.layer_norm1.bias',
        'action_head.fc1.weight': 'action_head.model.fc1.weight',
        'action_head.blocks.1.norm.weight': 'action_head.model.mlp_resnet_blocks.1.ffn.0.weight',
        'action_head.blocks.0.linear.bias': 'action_head.model.mlp_resnet_blocks.0.ffn.1.bias',
        'action_head.norm2.weight': 'action_head.model.layer_norm2.weight',
        'action_head.fc2.bias': 'action_head.model.fc2.bias',
        'proprio_projector.fc2.weight': 'proprio_projector.fc2.weight',
    }
    for ours, theirs in pairs.items():
        assert source_of(ours).name == theirs


@pytest.mark.parametrize('network', [8], indirect=True)
def test_foreign_proprioception_is_said_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out = run(folder, *LIBERO)
    assert status == 0 and load_model(out).config.proprio_dim == 8
    assert '8 numbers of proprioception' in capsys.readouterr().err


def _pickled(folder: Path) -> None:
    (folder / f'{HEAD}.safetensors').rename(folder / f'{HEAD}.pt')


def _twice(folder: Path) -> None:
    save_file({'fc1.weight': torch.ones(1)}, folder / 'action_head--9_checkpoint.safetensors')


def _film(folder: Path) -> None:
    (folder / 'vision_backbone--150000_checkpoint.pt').touch()


def _nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize('spoil, options, words', [
    (_pickled, LIBERO, 'is pickled'),
    (_pickled, LIBERO, f'{HEAD}.pt'),
    (_pickled, LIBERO, 'weights_only=True'),
    (_twice, LIBERO, 'leave the one'),
    (_film, LIBERO, 'FiLM'),
    (_nothing, (), '--chunk 8 --cameras 2'),
    (_nothing, ('--chunk', '8'), 'cameras None'),
    (_nothing, ('--chunk', '0', '--cameras', '2'), 'chunk is 0'),
    (lambda f: (f / f'{HEAD}.safetensors').unlink(), LIBERO, 'no action head'),
    (lambda f: (f / f'{HEAD}.safetensors').write_bytes(b'torn'), LIBERO, 'convert it again'),
])  # fmt: skip
def test_what_is_not_whole_is_named_and_nothing_is_left(
    folder: Path, spoil, options, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(folder)
    status, out = run(folder, *options)
    assert status == 1 and words in capsys.readouterr().err
    assert not out.exists() and not list(out.parent.glob('.*partial'))


def test_the_command_that_is_named_converts(folder: Path) -> None:
    """What a user is told to run works, on a file that is really pickled."""
    path = folder / f'{HEAD}.safetensors'
    before = load_file(path)
    pickled = path.with_suffix('.pt')
    torch.save(before, pickled)
    path.unlink()
    line = f'{CONVERT}{pickled}'.replace('python ', f'{sys.executable} ', 1)
    subprocess.run(line, shell=True, check=True)
    after = load_file(path)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
