# SPDX-License-Identifier: Apache-2.0
"""The arm of this process: one scene at a time, for each takes about a gigabyte."""

from __future__ import annotations

from sqil_ros.contract import Contract
from sqil_training.libero.arm import LiberoArm
from sqil_training.libero.tasks import CONTRACT, task_by_name

_arms: dict[str, LiberoArm] = {}


def arm_of(task: str) -> LiberoArm:
    """The arm of a task; a scene of another task is closed and this one built, in seconds.

    Raises:
        SceneError: there is no such task.
    """
    from sqil_training.libero.scene import LiberoScene  # LIBERO only when it is needed

    if task not in _arms:
        wanted = task_by_name(task)
        while _arms:
            _arms.popitem()[1].scene.close()
        _arms[task] = LiberoArm(LiberoScene(wanted, Contract.load(CONTRACT)))
    return _arms[task]
