# SPDX-License-Identifier: Apache-2.0
"""The toy sink as a plant of the controller."""

from __future__ import annotations

from typing import Any

import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.sim.tasks import SuccessJudge, Task, done_now, task_by_name
from sqil_ros.sim.toy_sink import ToySink
from sqil_ros.sim.variation import require_variation
from sqil_ros.types import Array

# Half a turn about z takes base_link to UR's base: x and y change sign.
_BASE_FROM_BASE_LINK = np.array([-1.0, -1.0, 1.0, -1.0, -1.0, 1.0])


class ToySinkPlant:
    """See :class:`sqil_ros.sim.ur_controller.plant.Plant`."""

    def __init__(self, contract: Contract) -> None:
        """Build the scene of ``contract``'s robot with the arm at home."""
        self._contract = contract
        self._scene = ToySink(contract)
        self._seed: int | None = None
        self._task: Task | None = None
        self._judge: SuccessJudge | None = None
        self._success = False
        self._time = 0.0
        self._judged_at = 0.0

    def step(self, q_command: Array, gripper_opening_command: float, dt: float) -> None:
        """See :class:`Plant`; the judge looks once per control step of the policy."""
        self._scene.step(q_command, gripper_opening_command, dt)
        self._time += dt
        if self._judge is not None and self._time - self._judged_at >= self._contract.period_s:
            self._judged_at = self._time
            self._success = self._judge.update(self._scene.state()) or self._success

    def joints(self) -> tuple[Array, Array]:
        """See :class:`Plant`."""
        return self._scene.joints()

    def gripper_opening(self) -> float:
        """See :class:`Plant`."""
        return self._scene.gripper_opening()

    def gripper_object_detected(self) -> bool:
        """See :class:`Plant`."""
        return self._scene.gripper_object_detected()

    def tcp_wrench(self) -> Array:
        """See :class:`Plant`."""
        return self._scene.tcp_wrench() * _BASE_FROM_BASE_LINK

    def reset(self, seed: int, task: str, variation: str) -> None:
        """See :class:`Plant`; another variation builds another scene, which takes a moment."""
        wanted = task_by_name(task)
        if require_variation(variation) != self._scene.variation:
            self._rebuild(variation)
        self._scene.reset(seed, keep_arm=True)
        self._seed, self._task, self._judge = seed, wanted, SuccessJudge(wanted)
        self._success, self._judged_at = False, self._time

    def _rebuild(self, variation: str) -> None:
        """Exchange the scene under an arm that keeps its place."""
        q, _ = self._scene.joints()
        self._scene.close()
        self._scene = ToySink(self._contract, variation)
        qpos = self._scene.qpos()
        qpos[:6] = q
        self._scene.set_qpos(qpos)
        self._scene.step(q, 1.0, 0.0)

    def success(self) -> dict[str, Any]:
        """See :class:`Plant`."""
        if self._task is None:
            return {'task': '', 'success': False, 'done_now': False}
        done = done_now(self._task, self._scene.state())
        return {'task': self._task.name, 'success': self._success, 'done_now': done}

    def snapshot(self) -> dict[str, Any]:
        """See :class:`Plant`."""
        return {
            'time': self._time,
            'qpos': self._scene.qpos().tolist(),
            'variation': self._scene.variation,
            'seed': self._seed,
        }
