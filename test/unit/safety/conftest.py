# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from sqil_ros.contract import Contract
from sqil_ros.geometry import base_link_from_base
from sqil_ros.kinematics import UR5E, forward
from sqil_ros.safety import Box, SafetyLimits
from sqil_ros.types import Array, Pose


@pytest.fixture(scope='session')
def limits() -> SafetyLimits:
    return SafetyLimits.for_contract(
        Contract.load(), workspace=Box((0.2, -0.45, -0.05), (0.75, 0.45, 0.6))
    )


@pytest.fixture(scope='session')
def home_joints() -> Array:
    return np.array(Contract.load().home)


@pytest.fixture(scope='session')
def home_pose(home_joints: Array) -> Pose:
    return base_link_from_base(forward(UR5E, home_joints, Contract.load().tcp))
