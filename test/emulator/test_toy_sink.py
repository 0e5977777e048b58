# SPDX-License-Identifier: Apache-2.0
"""The controller in front of the kitchen: physics, resets and the judge."""

from __future__ import annotations

import numpy as np
import pytest

from sqil_ros.contract import Contract
from sqil_ros.errors import SceneError
from sqil_ros.geometry import base_link_from_base, pose_from_vector

pytestmark = pytest.mark.sim


def test_the_arm_moves_in_the_scene_and_resets_leave_it_alone(start, client):
    emulator = start('--plant', 'toy_sink')
    contract = Contract.load()
    reset = {'task': 'cup_plate', 'variation': 'nominal'}
    assert emulator.channel.request('success') == {
        'task': '', 'success': False, 'done_now': False,
    }  # fmt: skip
    emulator.channel.request('reset', seed=7, **reset)
    snapshot = emulator.channel.request('snapshot')
    assert (snapshot['seed'], snapshot['variation']) == (7, 'nominal')
    np.testing.assert_allclose(snapshot['qpos'][:6], contract.home, atol=0.02)
    assert emulator.channel.request('success')['task'] == 'cup_plate'

    found = client('motions.servo', emulator.host, joints=False)
    assert found['accepted'] and found['move_after']

    # x forward in base_link, whatever UR's base says.
    pose = base_link_from_base(pose_from_vector(np.array(emulator.statistics()['tcp_pose'])))
    assert pose.position[0] > 0.2

    before = emulator.channel.request('snapshot')['qpos']
    emulator.channel.request('reset', seed=8, **reset)
    after = emulator.channel.request('snapshot')['qpos']
    np.testing.assert_allclose(before[:6], after[:6], atol=0.01)
    assert np.abs(np.subtract(before[6:], after[6:])).max() > 0.01

    emulator.channel.request('reset', seed=8, task='stack_cups', variation='distractors')
    dressed = emulator.channel.request('snapshot')
    assert dressed['variation'] == 'distractors'
    assert len(dressed['qpos']) > len(after)
    np.testing.assert_allclose(before[:6], dressed['qpos'][:6], atol=0.01)
    for wrong in ({'task': 'fly'}, {'task': 'stack_cups', 'variation': 'fog'}):
        with pytest.raises(SceneError, match='Unknown'):
            emulator.channel.request('reset', seed=8, **wrong)
