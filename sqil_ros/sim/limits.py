# SPDX-License-Identifier: Apache-2.0
"""Limits of the simulated robot, where they are not those of a real one."""

from typing import Any

from sqil_ros.safety import Box

WORKSPACE = Box((0.25, -0.45, -0.012), (0.75, 0.40, 0.55))
"""The toy sink's counter and the room above it, in ``base_link`` [m]; a real cell has to be
measured. The margin that the filter keeps leaves the finger tips 8 mm above the counter, low
enough for an eggplant."""

TABLE_Z = -0.012

SIMULATED: dict[str, Any] = {
    # The emulator shares its processor with cameras and policy; a real controller does not.
    'controller_age_s': 0.3,
    'joint_state_age_s': 0.3,
    # Contacts of rigid bodies are harder than real ones, and the in-process evaluation, which
    # has to agree with the robot node, has no contact check at all.
    'force_hold_n': 140.0,
    'torque_hold_nm': 20.0,
    'force_stop_n': 150.0,
}
"""Defaults that replace those of :class:`sqil_ros.safety.SafetyLimits` in simulation."""
