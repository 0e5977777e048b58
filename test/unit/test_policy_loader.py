# SPDX-License-Identifier: Apache-2.0
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError, ContractMismatch, ProfileError
from sqil_ros.policy.loader import check_checkpoint, check_profile, has_logits, load_policy
from sqil_ros.policy.manifest import write_manifest
from sqil_ros.policy.openvla import checkpoint
from sqil_ros.types import Observation

CONTRACT = Contract.load()
CHECKPOINT = Path(__file__).resolve().parents[2] / 'models' / 'toy_sink_openvla'
STATISTICS_NAME = 'dataset_statistics.json'
MASK = [True] * 6 + [False]


def action(q01, q99, mask=MASK):
    return {'toy_sink': {'action': {'q01': q01, 'q99': q99, 'mask': mask}}}


STATISTICS = action([-0.05] * 6 + [1.0], [0.05] * 6 + [1.0])


def make(directory, statistics=STATISTICS, **changes):
    if statistics is not None:
        (directory / STATISTICS_NAME).write_text(json.dumps(statistics))
    (directory / 'model.safetensors').write_bytes(b'weights')
    facts = {
        'name': 'tiny',
        'architecture': 'openvla',
        'dataset': 'toy_sink',
        'contract_hash': CONTRACT.hash,
    }
    write_manifest(directory, **(facts | changes))
    return directory


def test_sound_checkpoint_is_accepted(tmp_path):
    assert check_checkpoint(make(tmp_path), CONTRACT).name == 'tiny'


def test_contract_of_another_robot_names_both_hashes(tmp_path):
    with pytest.raises(ContractMismatch) as refusal:
        load_policy(make(tmp_path, contract_hash='0123456789abcdef'), 'fp', CONTRACT)
    assert '0123456789abcdef' in str(refusal.value)
    assert CONTRACT.hash in str(refusal.value)


def test_a_large_network_is_held_in_half_precision_and_its_words_stay_in_their_file(monkeypatch):
    observation = Observation(
        stamp_ns=0, images=(np.zeros((128, 128, 3), np.uint8),) * 2,
        state=np.full(7, 0.1), command=np.full(7, 0.1), instruction='stack the cups',
    )  # fmt: skip
    weights = str(CHECKPOINT / 'profiles' / 'int4_rtn' / 'weights.safetensors')
    load = partial(load_policy, CHECKPOINT, 'int4_rtn', CONTRACT, act_only=True)
    small = load()
    maps = Path('/proc/self/maps')
    assert small.model.dtype == torch.float32 and weights not in maps.read_text()
    monkeypatch.setattr(checkpoint, 'LARGE', 1)
    large = load()
    assert large.model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert weights in maps.read_text()
    assert large.describe().weight_bytes < 0.95 * small.describe().weight_bytes
    moved = large.act(observation).actions - small.act(observation).actions
    assert 0 <= abs(moved[:, :3]).max() < 0.005, 'metres'


@pytest.mark.parametrize('config, answer', [('{}', True), ('{"head": "l1"}', False)])
def test_who_has_logits_is_known_without_weights(tmp_path, config, answer):
    assert not has_logits('builtin:circle')
    with pytest.raises(CheckpointError, match=r'config\.json'):
        has_logits(str(tmp_path))
    (tmp_path / 'config.json').write_text(config)
    assert has_logits(str(tmp_path)) is answer


@pytest.mark.parametrize(
    ('statistics', 'words'),
    [
        (None, 'statistics'),
        ({'bridge_orig': {}}, 'toy_sink'),
        ([], 'toy_sink'),
        (action([0.0] * 6, [1.0] * 6, [True] * 6), 'seven numbers'),
        (action([1.0] * 7, [1.0] * 7), 'q01 below q99'),
        ({'toy_sink': {}}, 'action'),
        (action(['x'] * 7, [1.0] * 7), 'no usable'),
    ],
)
def test_unusable_statistics_are_refused(tmp_path, statistics, words):
    with pytest.raises(CheckpointError, match=words):
        check_checkpoint(make(tmp_path, statistics), CONTRACT)


def test_unknown_architecture_and_builtin_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="'rt1'"):
        load_policy(make(tmp_path, architecture='rt1'), 'fp', CONTRACT)
    with pytest.raises(CheckpointError, match='image_mean'):
        load_policy('builtin:magic', 'fp', CONTRACT)


def test_builtin_policy_needs_no_directory():
    assert load_policy('builtin:image_mean', 'int4_rtn', CONTRACT).profile == 'int4_rtn'


def test_profile_names_are_checked_before_anything_is_loaded():
    for name in ('fp', 'int4_rtn', 'int3_sqil_v2'):
        check_profile('builtin:image_mean', name, CONTRACT)
    for name in ('', 'int4', '../int4_rtn', 'INT4_RTN', 'int4_rtn/x'):
        with pytest.raises(ProfileError, match='no name of a profile'):
            check_profile('builtin:image_mean', name, CONTRACT)
