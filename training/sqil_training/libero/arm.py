# SPDX-License-Identifier: Apache-2.0
"""The policy's 5 Hz actions, carried out by LIBERO's 20 Hz controller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sqil_ros.contract import Contract, state_from_pose
from sqil_ros.geometry import apply_delta, interpolate, pose_delta
from sqil_ros.sim.steering import shortened
from sqil_ros.types import Action, Array, Observation, Pose
from sqil_training.libero.tasks import CONTROL_STEPS

if TYPE_CHECKING:
    from sqil_training.libero.scene import LiberoScene

# What robosuite's OSC_POSE makes of an action of 1 [m, rad].
_LARGEST_M, _LARGEST_RAD = 0.05, 0.5
LEASH_M = 0.08
"""How far the command may run ahead of the arm; its lag at full speed is half of that."""


class LiberoArm:
    """A LIBERO scene whose arm takes the actions of our contract."""

    command: Pose
    gripper_command: float
    steps: int
    succeeded: bool

    def __init__(self, scene: LiberoScene) -> None:
        """Drive the arm of ``scene``; call :meth:`reset` or :meth:`restore` first."""
        self.scene = scene
        self._contract: Contract = scene.contract

    def reset(self, seed: int) -> None:
        """Start from a random placement."""
        self.scene.place(seed)
        self._begin()

    def restore(self, index: int) -> None:
        """Start from one of LIBERO's initial states."""
        self.scene.restore(index)
        self._begin()

    def observe(self, instruction: str) -> Observation:
        """What a policy sees now; this is what costs time, so ask once an action."""
        return Observation(
            self.scene.render(),
            state_from_pose(self._contract, self.scene.tcp(), self.scene.gripper_opening()),
            state_from_pose(self._contract, self.command, self.gripper_command),
            instruction,
            round(self.steps * self._contract.period_s * 1e9),
        )

    def step(self, action: Action) -> None:
        """Carry out ``action``; sets :attr:`succeeded` once LIBERO says that the task is done."""
        start, measured = self.command, self.scene.tcp()
        wanted = apply_delta(start, action.delta)
        ahead = shortened(wanted.position - measured.position, LEASH_M)
        self.command = Pose(measured.position + ahead, wanted.quaternion)
        self.gripper_command = 1.0 if action.gripper >= 0.5 else 0.0
        for k in range(1, CONTROL_STEPS + 1):
            waypoint = interpolate(start, self.command, k / CONTROL_STEPS)
            self.scene.step(_controls(self.scene.tcp(), waypoint, self.gripper_command))
            self.succeeded = self.succeeded or self.scene.success()
        self.steps += 1

    def _begin(self) -> None:
        self.command = self.scene.tcp()
        self.gripper_command = 1.0
        self.steps = 0
        self.succeeded = False


def _controls(measured: Pose, waypoint: Pose, opening: float) -> Array:
    """(7,) action of robosuite's OSC_POSE that moves from ``measured`` to ``waypoint``."""
    delta = pose_delta(measured, waypoint)
    scaled = np.concatenate([delta[:3] / _LARGEST_M, delta[3:] / _LARGEST_RAD])
    return np.append(np.clip(scaled, -1.0, 1.0), 1.0 - 2.0 * opening)
