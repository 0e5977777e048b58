# SPDX-License-Identifier: Apache-2.0
"""Ceilings hold, and a refused limit names the value, the limit and the mend."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sqil_ros.errors import ParameterError
from sqil_ros.safety import Box, SafetyLimits, workspace_complaint
from sqil_ros.safety.limits import MOTION_CEILINGS, RANGES
from sqil_ros.trajectory import MotionLimits
from sqil_ros.types import Pose


@pytest.mark.parametrize('name', sorted(RANGES))
def test_no_limit_leaves_its_range(name: str) -> None:
    low, high, _ = RANGES[name]
    assert low <= getattr(SafetyLimits(), name) <= high
    for value in (high * 1.01 + 1e-6, low - 0.01, math.nan):
        with pytest.raises(ParameterError, match=name):
            SafetyLimits(**{name: value})


@pytest.mark.parametrize('name', sorted(MOTION_CEILINGS))
def test_no_speed_exceeds_its_ceiling(name: str) -> None:
    with pytest.raises(ParameterError, match='ceiling'):
        SafetyLimits(motion=MotionLimits(**{name: MOTION_CEILINGS[name] * 1.01}))


def test_an_empty_box_is_refused() -> None:
    with pytest.raises(ParameterError, match='empty'):
        Box((0.0, 0.0, 0.5), (1.0, 1.0, 0.4))


def test_arming_needs_a_workspace_with_the_tool_inside(
    limits: SafetyLimits, home_pose: Pose
) -> None:
    assert workspace_complaint(home_pose, limits) == ''
    assert 'workspace.low' in workspace_complaint(home_pose, SafetyLimits())
    outside = Pose(home_pose.position + np.array([0.0, 0.0, 1.0]), home_pose.quaternion)
    assert 'outside the workspace' in workspace_complaint(outside, limits)
