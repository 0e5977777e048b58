# SPDX-License-Identifier: Apache-2.0
"""The arms of this process, one a task: to build a scene takes as long as an episode."""

from __future__ import annotations

from functools import cache

from sqil_ros.contract import Contract
from sqil_training.libero.arm import LiberoArm
from sqil_training.libero.tasks import CONTRACT, task_by_name


@cache
def arm_of(task: str) -> LiberoArm:
    """The arm of a task, built when it is first asked for.

    Raises:
        SceneError: there is no such task.
    """
    from sqil_training.libero.scene import LiberoScene  # LIBERO only when it is needed

    return LiberoArm(LiberoScene(task_by_name(task), Contract.load(CONTRACT)))
