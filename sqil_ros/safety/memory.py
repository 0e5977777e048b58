# SPDX-License-Identifier: Apache-2.0
"""What the action filter remembers from one action to the next; frozen, so it is replaced."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sqil_ros.geometry import rotation_angle
from sqil_ros.safety.checks import Check
from sqil_ros.safety.limits import SafetyLimits
from sqil_ros.types import Array, Pose

_FLIP_M = 2e-3
_IDLE_M, _IDLE_RAD = 1e-3, 5e-3
_TURNED_RAD = 0.1


@dataclass(frozen=True)
class FilterMemory:
    """State of the filter; a fresh one belongs to a freshly armed robot or a new episode.

    Attributes:
        counts: how often each check acted, indexed by the check's number (0 is unused).
        sequence: number of the last accepted action.
        drops: actions dropped in a row.
        gripper: commanded opening, 0 or 1.
        toggles_s: when the gripper command changed lately.
        joints: (6,) solution [rad] at the commanded target; None before the first action.
        joint_step: (6,) joint motion [rad] of the last accepted action.
        first_s: when the first action was accepted.
        episode: episode of the last action, which began at ``episode_s`` and has ``steps``.
        anchor: where the arm was when it last made progress, and when that was.
        motions: times and (3,) translations of the last second.
    """

    counts: tuple[int, ...] = (0,) * (max(Check) + 1)
    sequence: int | None = None
    drops: int = 0
    gripper: float = 1.0
    toggles_s: tuple[float, ...] = ()
    joints: Array | None = None
    joint_step: Array | None = None
    first_s: float | None = None
    episode: str = ''
    episode_s: float | None = None
    steps: int = 0
    anchor: Pose | None = None
    anchor_s: float = 0.0
    motions: tuple[tuple[float, Array], ...] = ()

    @classmethod
    def fresh(cls, gripper: float, counts: tuple[int, ...] | None = None) -> FilterMemory:
        """Memory of a robot at rest whose gripper opening is ``gripper``; counters may go on."""
        start = cls(gripper=1.0 if gripper > 0.5 else 0.0)
        return start if counts is None else dataclasses.replace(start, counts=counts)

    def counted(self, checks: Iterable[Check]) -> FilterMemory:
        """The same memory with one more act of each of ``checks``."""
        counts = list(self.counts)
        for check in checks:
            counts[check] += 1
        return dataclasses.replace(self, counts=tuple(counts))

    def in_episode(self, name: str, now_s: float) -> FilterMemory:
        """Begin counting anew where an action belongs to another episode than the last one."""
        if self.episode_s is not None and name == self.episode:
            return self
        return dataclasses.replace(self, episode=name, episode_s=now_s, steps=0)

    def observed(
        self, now_s: float, measured: Pose, wanted: Array, toggled: bool, limits: SafetyLimits
    ) -> FilterMemory:
        """Note an accepted action: ``wanted`` (6,) was asked for with the arm at ``measured``."""
        idle = (
            float(np.linalg.norm(wanted[:3])) < _IDLE_M
            and float(np.linalg.norm(wanted[3:])) < _IDLE_RAD
        )
        if self.anchor is None or idle or toggled or _moved(self.anchor, measured, limits):
            anchor, anchor_s = measured, now_s
        else:
            anchor, anchor_s = self.anchor, self.anchor_s
        motions = tuple(entry for entry in self.motions if entry[0] > now_s - 1.0)
        return dataclasses.replace(
            self, anchor=anchor, anchor_s=anchor_s, motions=(*motions, (now_s, wanted[:3]))
        )

    def stuck_s(self, now_s: float) -> float:
        """Seconds of asking for motion without any."""
        return 0.0 if self.anchor is None else now_s - self.anchor_s

    def flips(self) -> int:
        """Reversals of direction among the motions of the last second."""
        moves = [move for _, move in self.motions if math.sqrt(float(move @ move)) > _FLIP_M]
        return sum(float(a @ b) < 0.0 for a, b in itertools.pairwise(moves))


def _moved(anchor: Pose, measured: Pose, limits: SafetyLimits) -> bool:
    return (
        float(np.linalg.norm(measured.position - anchor.position)) > limits.stuck_m
        or rotation_angle(anchor.quaternion, measured.quaternion) > _TURNED_RAD
    )
