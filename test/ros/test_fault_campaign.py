# SPDX-License-Identifier: Apache-2.0
"""Every fault of the campaign ends at rest, by name, and stays so until an explicit reset."""

from __future__ import annotations

import os
import random

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('sqil_ros.msg')

from sqil_ros.nodes.fault_campaign.cases import CASES, Case, run_case
from sqil_ros.nodes.fault_campaign.rig import Rig

pytestmark = [pytest.mark.emulator, pytest.mark.slow]

# The campaign's own command measures against 0.3 s; a test machine counts as loaded.
BAR_S = 0.5
SPEED_LIMIT = 0.25


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_fault(case: Case) -> None:
    pick = random.Random(os.urandom(8))
    host = f'127.{pick.randint(16, 250)}.{pick.randint(0, 250)}.{pick.randint(2, 250)}'
    with Rig(host, pick.randint(1, 100), case.parameters) as rig:
        outcome = run_case(rig, case, pick.uniform(0.0, 0.2))
    assert outcome.fault in case.expected
    assert outcome.rest_ms is not None, 'the arm never came to rest'
    if case.bar_s is not None:
        assert outcome.rest_ms <= 1e3 * BAR_S
    assert outcome.refused, 'arming was allowed before the reset'
    assert not outcome.moved_again
    assert outcome.recovered
    assert outcome.top_speed <= 1.05 * SPEED_LIMIT
