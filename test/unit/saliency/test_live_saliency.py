# SPDX-License-Identifier: Apache-2.0
"""The live map is the offline one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sqil_ros.contract import Contract
from sqil_ros.errors import ParameterError
from sqil_ros.policy.loader import module_of
from sqil_ros.policy.nursery import Nursery
from sqil_ros.policy.openvla.live_saliency import SIZE, live_settings
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.teacher import OpenVLATeacher
from sqil_ros.policy.own_process import PolicyProcess
from sqil_ros.saliency import picture_saliency, state_rng
from sqil_ros.saliency.heat_map import heat_maps
from sqil_ros.types import Observation

SIDE = 4


@pytest.fixture
def copy(checkpoint: Path) -> Iterator[PolicyProcess]:
    nursery = Nursery(module_of(str(checkpoint)))
    started = PolicyProcess(
        nursery, str(checkpoint), 'fp', Contract.load(), 'cpu', 1, 'torch', background=True
    )
    yield started
    started.close()
    nursery.close()


def test_what_is_seen_live_is_what_is_scored_offline(
    copy: PolicyProcess, policy: OpenVLAPolicy, observation: Observation
) -> None:
    torch.set_num_threads(1)
    state = OpenVLATeacher(policy, 'action').state(observation)
    offline = picture_saliency(state, live_settings(SIDE), state_rng(0, 'any', 7))
    live = copy.look(observation, SIDE)
    assert live.maps.shape == (2, SIDE, SIDE) and live.score > 0.0
    np.testing.assert_array_equal(live.maps, offline.maps)
    assert live.score == offline.score
    assert live.picture.shape == (SIZE, 2 * SIZE, 3)
    overlays = heat_maps(observation.images, offline.maps, SIZE)
    np.testing.assert_array_equal(live.picture, np.concatenate(overlays, axis=1))


def test_a_copy_in_the_background_gives_way_to_everybody(copy: PolicyProcess) -> None:
    assert os.getpriority(os.PRIO_PROCESS, copy.pid) == 10


def test_a_grid_too_fine_is_refused_and_the_next_one_answered(
    copy: PolicyProcess, observation: Observation
) -> None:
    with pytest.raises(ParameterError, match='does not fit'):
        copy.look(observation, 64)
    assert copy.look(observation, 1).maps.shape == (2, 1, 1)
