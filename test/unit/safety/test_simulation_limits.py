# SPDX-License-Identifier: Apache-2.0
"""The workspace of the simulated robot."""

from __future__ import annotations

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
