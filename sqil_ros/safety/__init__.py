# SPDX-License-Identifier: Apache-2.0
"""The safety filter: pure functions over frozen values. Not a safety-rated function.

``filter_action`` judges every action (5 Hz), ``check_cycle`` every cycle of the robot (125 Hz).
"""

from sqil_ros.safety.action import FilterResult, filter_action
from sqil_ros.safety.checks import Check, Fault, Verdict
from sqil_ros.safety.controller import CycleState
from sqil_ros.safety.cycle import CycleMemory, CycleResult, check_cycle
from sqil_ros.safety.limits import Box, SafetyLimits
from sqil_ros.safety.memory import FilterMemory
from sqil_ros.safety.wire import SafetyContext
from sqil_ros.safety.workspace import workspace_complaint

__all__ = [
    'Box',
    'Check',
    'CycleMemory',
    'CycleResult',
    'CycleState',
    'Fault',
    'FilterMemory',
    'FilterResult',
    'SafetyContext',
    'SafetyLimits',
    'Verdict',
    'check_cycle',
    'filter_action',
    'workspace_complaint',
]
