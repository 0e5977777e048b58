# SPDX-License-Identifier: Apache-2.0
"""The robot node and the in-process simulation keep the same box."""

from __future__ import annotations

import pytest

from sqil_ros.contract import Contract
from sqil_ros.geometry import base_link_from_base
from sqil_ros.kinematics import ARMS, forward
from sqil_ros.safety import SafetyLimits, workspace_complaint
from sqil_ros.sim.limits import TABLE_Z, WORKSPACE


def test_home_is_inside_the_simulated_workspace() -> None:
    contract = Contract.load()
    limits = SafetyLimits.for_contract(contract, workspace=WORKSPACE, table_z=TABLE_Z)
    home = base_link_from_base(forward(ARMS[contract.robot], contract.home, contract.tcp))
    assert workspace_complaint(home, limits) == ''


def test_both_simulations_keep_the_same_box() -> None:
    arm = pytest.importorskip('sqil_ros.sim.arm')
    assert arm.TOY_SINK_WORKSPACE == WORKSPACE
