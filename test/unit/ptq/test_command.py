# SPDX-License-Identifier: Apache-2.0
"""sqil-quantize with calibration: what is asked for shows in the name and runs."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pytest
from sqil_training.ptq.methods import METHODS
from sqil_training.quantize import main

from sqil_ros.contract import Contract
from sqil_ros.policy.loader import load_policy
from sqil_ros.policy.openvla.checkpoint import save_checkpoint
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.statistics import dataset_statistics
from sqil_ros.policy.openvla.tokenizer import train_tokenizer
from sqil_ros.quant.activations import InputRule
from sqil_ros.quant.primitives import Grid
from sqil_ros.quant.profile import list_profiles, read_profile
from sqil_ros.types import Observation

CONTRACT = Contract.load()


@pytest.fixture
def checkpoint(tmp_path: Path, model: OpenVLA) -> Path:
    rng = np.random.default_rng(0)
    statistics = dataset_statistics('random', rng.normal(size=(9, 7)), rng.normal(size=(9, 14)), 1)
    twin = copy.deepcopy(model)
    save_checkpoint(tmp_path, twin, train_tokenizer(), statistics, CONTRACT, 'random')
    return tmp_path


def quantize(checkpoint: Path, *arguments: str) -> int:
    return main(['--checkpoint', str(checkpoint), *arguments])


@pytest.mark.parametrize('method', METHODS)
def test_every_method_makes_a_profile_that_acts(
    checkpoint: Path, tree: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ('--calibration', str(tree), '--samples', '4')
    assert quantize(checkpoint, '--method', method, '--bits', '4', *data) == 0
    report = capsys.readouterr().out
    assert re.search(rf'^int4_{method} .* 0\.\d+ +\d\.\d+  \d', report, re.MULTILINE)
    assert 'on 4 calibration frames' in report
    profile = read_profile(checkpoint / 'profiles' / f'int4_{method}')
    assert profile.measured['calibration'] == {'samples': 4, 'seed': 0}
    assert 0.0 <= profile.measured['action_error'] <= 2.0
    policy = load_policy(checkpoint, profile.name, CONTRACT)
    pictures = tuple(np.zeros((128, 128, 3), np.uint8) for _ in CONTRACT.cameras)
    answer = policy.act(Observation(pictures, np.zeros(7), np.zeros(7), 'lift the eggplant'))
    assert bool(np.isfinite(answer.actions).all())


@pytest.mark.parametrize(
    ('arguments', 'name', 'grid'),
    [
        (['--asymmetric'], 'int4_rtn_asym', Grid(4, 0, False)),
        (['--group-size', '4'], 'int4_rtn_g4', Grid(4, 4)),
        (['--activation-bits', '8'], 'int4_rtn_a8', Grid(4)),
        (['--groups', 'vision'], 'int4_rtn_vision', Grid(4)),
        (['--groups', 'vision', 'language', 'projector', 'head'],
         'int4_rtn_projector_head_vision_language', Grid(4)),
        (['--layers', 'mlp=*.mlp.*,*.fc3', '--group-size', '4', '--asymmetric'],
         'int4_rtn_asym_g4_mlp', Grid(4, 4, False)),
    ],
)  # fmt: skip
def test_choices_show_in_the_name_and_the_profile(
    checkpoint: Path, arguments: list[str], name: str, grid: Grid
) -> None:
    assert quantize(checkpoint, '--bits', '4', *arguments) == 0
    assert list_profiles(checkpoint) == ['fp', name]
    profile = read_profile(checkpoint / 'profiles' / name)
    assert {group.grid for group in profile.groups} == {grid}
    assert profile.inputs == (InputRule(8) if 'a8' in name else None)
    layers = {layer for group in profile.groups for layer in group.layers}
    assert ('language_model.lm_head' in layers) == ('head' in name)
    assert ('projector.fc3' in layers) == ('projector' in name or 'mlp' in name)
    load_policy(checkpoint, name, CONTRACT)


def test_static_activations_are_calibrated(checkpoint: Path, tree: Path) -> None:
    static = ('--activation-bits', '4', '--activation', 'static')
    data = ('--calibration', str(tree), '--samples', '2')
    assert quantize(checkpoint, '--bits', '8', '--method', 'smoothquant', *static, *data) == 0
    profile = read_profile(checkpoint / 'profiles' / 'int8_smoothquant_a4static')
    assert profile.inputs == InputRule(4, static=True)


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [
        (['--method', 'awq'], '--method awq .*give an episode tree with --calibration'),
        (
            ['--activation-bits', '8', '--activation', 'static'],
            'static .*use --activation dynamic',
        ),
        (['--calibration', 'nowhere'], 'No episodes under nowhere'),
        (['--group-size', '7'], 'group size of 7 does not divide the 12 inputs'),
        (['--layers', '*.mlp.*'], 'NAME=PATTERN'),
        (['--layers', 'vision=*.mlp.*'], 'a name other than'),
        (['--layers', 'mlp=dino.*', 'mlp=*.mlp.*'], 'a name other than'),
        (['--layers', 'mlp=nothing'], "belongs to .'mlp'"),
        (['--layers', 'M-L-P=*.mlp.*'], 'is no name'),
    ],
)
def test_bad_choices_are_refused_and_write_nothing(
    checkpoint: Path,
    arguments: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert quantize(checkpoint, '--bits', '4', *arguments) == 1
    assert re.search(complaint, capsys.readouterr().err)
    assert list_profiles(checkpoint) == ['fp']


@pytest.mark.parametrize(
    'arguments', [['--activation', 'static'], ['--samples', '0'], ['--bits', '9']]
)
def test_bad_words_are_refused(checkpoint: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        quantize(checkpoint, *arguments)
