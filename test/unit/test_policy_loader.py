# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError, ContractMismatch
from sqil_ros.policy.loader import STATISTICS_NAME, check_checkpoint, load_policy
from sqil_ros.policy.manifest import write_manifest

CONTRACT = Contract.load()
STATISTICS = {'toy_sink': {'action': {'q01': [-0.05] * 7, 'q99': [0.05] * 7}}}


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


@pytest.mark.parametrize(
    ('statistics', 'words'),
    [
        (None, 'missing'),
        ({'bridge_orig': {}}, 'bridge_orig.*toy_sink'),
        ([], 'list'),
        ({'toy_sink': {'action': {'q01': [0.0] * 6, 'q99': [1.0] * 6}}}, 'seven numbers'),
        ({'toy_sink': {'action': {'q01': [1.0] * 7, 'q99': [1.0] * 7}}}, 'q01 below q99'),
        ({'toy_sink': {}}, 'seven numbers'),
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
