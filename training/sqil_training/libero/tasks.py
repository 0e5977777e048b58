# SPDX-License-Identifier: Apache-2.0
"""The suites and their tasks by name, and what they share.

The suites are those of Liu et al. (2023), "LIBERO: Benchmarking Knowledge Transfer for Lifelong
Robot Learning".
"""

from __future__ import annotations

from pathlib import Path

from sqil_ros.errors import SceneError
from sqil_ros.share import share_directory
from sqil_training.libero.objects import OBJECT
from sqil_training.libero.spatial import SPATIAL
from sqil_training.libero.suite import LiberoTask

CONTRACT = share_directory() / 'config' / 'libero_contract.yaml'
INITIAL_STATES, PLACEMENTS = 'initial_states', 'placements'
STARTS = (INITIAL_STATES, PLACEMENTS)
"""LIBERO's own initial states, which judge, or new placements by its sampler."""
FIRST_HELD_OUT_SEED = 9000
"""Placements of seeds from here on are never demonstrated."""
CONTROL_STEPS = 4
"""LIBERO's control steps (20 Hz) to one action of the policy (5 Hz)."""
SUITES = {suite.name: suite for suite in (OBJECT, SPATIAL)}
_BY_NAME = {task.name: task for suite in SUITES.values() for task in suite.tasks}


def policy_for(suite: str) -> Path:
    """Checkpoint of this package's own policy for the suite called ``suite``."""
    return share_directory() / 'models' / f'{suite}_openvla'


def task_by_name(name: str) -> LiberoTask:
    """The task called ``name``, of whichever suite.

    Raises:
        SceneError: there is no such task.
    """
    if name not in _BY_NAME:
        raise SceneError(f'Unknown LIBERO task {name!r}; the tasks are {", ".join(_BY_NAME)}.')
    return _BY_NAME[name]
