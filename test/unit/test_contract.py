# SPDX-License-Identifier: Apache-2.0
"""The contract: one hash for one meaning, refusals that name both sides."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.contract import DEFAULT_PATH, Contract, pose_from_state, state_from_pose
from sqil_ros.errors import ContractMismatch
from sqil_ros.geometry import base_link_from_base, rotation_angle
from sqil_ros.kinematics import ARMS, forward

CONTRACT = Contract.load()


def test_every_field_changes_the_hash():
    changed = {
        dataclasses.replace(CONTRACT, rate_hz=10.0).hash,
        dataclasses.replace(CONTRACT, cameras=CONTRACT.cameras[::-1]).hash,
        dataclasses.replace(CONTRACT, image_width=224).hash,
        dataclasses.replace(CONTRACT, gripper='closed_is_one').hash,
        CONTRACT.hash,
    }
    assert len(changed) == 5


def test_the_judges_contract_is_sound_and_another():
    judge = Contract.load(DEFAULT_PATH.with_name('libero_contract.yaml'))
    assert judge.hash != CONTRACT.hash
    assert len(judge.home) == 7
    np.testing.assert_allclose(np.linalg.norm(judge.tool_down), 1.0)


def test_comments_and_order_in_the_file_do_not_change_the_hash(tmp_path):
    lines = [
        line.split('#')[0].rstrip()
        for line in DEFAULT_PATH.read_text(encoding='utf-8').splitlines()
        if line.strip() and not line.startswith('#')
    ]
    copy = tmp_path / 'contract.yaml'
    copy.write_text('\n'.join(lines), encoding='utf-8')
    assert Contract.load(copy).hash == CONTRACT.hash


def test_another_contract_is_refused_with_both_names():
    with pytest.raises(ContractMismatch) as refusal:
        CONTRACT.require_hash('0123456789abcdef', 'Bag demo')
    for part in ('Bag demo', '0123456789abcdef', CONTRACT.hash):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ('line', 'word'), [('speed: 3', 'speed'), ('home: [0, 0]', 'home'), ('', 'robot')]
)
def test_a_malformed_file_is_refused_by_name(tmp_path, line, word):
    text = DEFAULT_PATH.read_text(encoding='utf-8')
    if word == 'robot':
        text = text.replace('robot: ur5e', '')
    elif word == 'home':
        text = text[: text.index('home:')] + line
    else:
        text += line
    path = tmp_path / 'contract.yaml'
    path.write_text(text, encoding='utf-8')
    with pytest.raises(ContractMismatch, match=word):
        Contract.load(path)


@given(st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6).map(np.array), st.floats(0.0, 1.0))
def test_state_and_pose_are_inverse(vector, opening):
    state = np.append(vector, opening)
    np.testing.assert_allclose(
        state_from_pose(CONTRACT, *pose_from_state(CONTRACT, state)), state, atol=1e-9
    )


def test_at_home_the_tool_points_down():
    pose = forward(ARMS[CONTRACT.robot], np.array(CONTRACT.home), CONTRACT.tcp)
    down = np.array(CONTRACT.tool_down)
    assert rotation_angle(base_link_from_base(pose).quaternion, down) < 0.01
