# SPDX-License-Identifier: Apache-2.0
"""sqil-quantize on a tiny policy with random weights, from the command line to the actions."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sqil_training.quantize import main

from sqil_ros.contract import DEFAULT_PATH, Contract
from sqil_ros.policy.loader import load_policy
from sqil_ros.policy.openvla.checkpoint import load_model, save_checkpoint
from sqil_ros.policy.openvla.config import tiny
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.statistics import dataset_statistics
from sqil_ros.policy.openvla.tokenizer import train_tokenizer
from sqil_ros.quant.profile import list_profiles, read_profile
from sqil_ros.quant.selection import linear_layers
from sqil_ros.quant.size import packed_layers
from sqil_ros.types import Observation

CONTRACT = Contract.load()


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp('trained')
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = OpenVLA(tiny())
    rng = np.random.default_rng(0)
    actions, proprio = rng.normal(size=(50, 7)), rng.normal(size=(50, model.config.proprio_dim))
    statistics = dataset_statistics('random', actions, proprio, 1)
    save_checkpoint(directory, model, train_tokenizer(), statistics, CONTRACT, 'random')
    return directory


@pytest.fixture
def checkpoint(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / 'checkpoint')


def quantize(checkpoint: Path, *arguments: str) -> int:
    return main(['--checkpoint', str(checkpoint), *arguments])


def test_a_checkpoint_is_refused_under_another_contract(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = DEFAULT_PATH.with_name('libero_contract.yaml')
    assert quantize(checkpoint, '--contract', str(other), '--bits', '8') == 1
    assert Contract.load(other).hash in capsys.readouterr().err


def test_profiles_act(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantize(checkpoint, '--bits', '8', '3') == 0
    report = capsys.readouterr().out
    assert list_profiles(checkpoint) == ['fp', 'int3_rtn', 'int8_rtn']
    for name in ('fp', 'int8_rtn', 'int3_rtn'):
        assert re.search(rf'^{name} +[\d.]+ +\d+% +[\d.]+ +\d+%', report, re.MULTILINE)

    profile = read_profile(checkpoint / 'profiles' / 'int3_rtn', CONTRACT.hash)
    assert [(group.name, group.bits) for group in profile.groups] == [
        ('vision', 3),
        ('language', 3),
    ]
    policy = load_policy(checkpoint, 'int3_rtn', CONTRACT)
    packed = set(packed_layers(policy.model))
    assert packed == {name for group in profile.groups for name in group.layers}
    dense = set(linear_layers(policy.model)) - packed
    assert all(re.search(r'projector|lm_head', name) for name in dense)
    rng = np.random.default_rng(0)
    pictures = tuple(rng.integers(0, 256, (128, 128, 3), np.uint8) for _ in CONTRACT.cameras)
    state = np.zeros(7)
    answer = policy.act(Observation(pictures, state, state, 'lift the eggplant'))
    assert bool(np.isfinite(answer.actions).all())


def test_a_subset_of_the_layers_shows_in_the_name(checkpoint: Path) -> None:
    assert quantize(checkpoint, '--bits', '4', '--groups', 'language') == 0
    assert list_profiles(checkpoint) == ['fp', 'int4_rtn_language']
    profile = read_profile(checkpoint / 'profiles' / 'int4_rtn_language')
    assert all(n.startswith('language_model.') for g in profile.groups for n in g.layers)


def test_a_rehearsal_writes_nothing(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantize(checkpoint, '--bits', '4', '--dry-run') == 0
    assert 'nothing was written' in capsys.readouterr().out
    assert list_profiles(checkpoint) == ['fp']


def test_weights_that_are_not_finite_are_refused_by_layer(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(checkpoint)
    model.language_model.model.layers[0].mlp.up_proj.weight.data[0, 0] = float('nan')
    monkeypatch.setattr('sqil_training.quantize.load_model', lambda directory: model)
    assert quantize(checkpoint, '--bits', '4') == 1
    error = capsys.readouterr().err
    assert 'layers.0.mlp.up_proj' in error
    assert 'not finite' in error
    assert list_profiles(checkpoint) == ['fp']


def test_no_checkpoint_no_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantize(tmp_path / 'nowhere') == 1
    assert 'nowhere' in capsys.readouterr().err
