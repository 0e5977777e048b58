# SPDX-License-Identifier: Apache-2.0
"""Random places for the objects: a pure function of the seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sqil_ros.errors import SceneError
from sqil_ros.sim.objects import DISTRACTORS, SceneObject
from sqil_ros.sim.tasks import SOURCES, TARGETS


@dataclass(frozen=True)
class Placement:
    """Where an object starts: x, y [m] on the counter and yaw [rad]."""

    x: float
    y: float
    yaw: float


# x from, x to, y from, y to [m]: what is picked up lies on the left, what it goes to on the right.
SOURCE_AREA = (0.38, 0.62, 0.05, 0.24)
TARGET_AREA = (0.36, 0.62, -0.27, 0.01)
COUNTER_AREA = (0.34, 0.66, -0.33, 0.30)
# Room between footprints [m]: an open gripper must fit between a source and anything else.
SOURCE_GAP, TARGET_GAP = 0.045, 0.012
_TRIES = 400


def random_layout(seed: int, distractors: bool = False) -> dict[str, Placement]:
    """Places for every object, the same for the same seed.

    Raises:
        SceneError: no free arrangement was found.
    """
    rng = np.random.default_rng([seed, 7])
    for _ in range(_TRIES):
        placed: dict[str, Placement] = {}
        radii: dict[str, tuple[float, float]] = {}
        items = [(item, TARGET_AREA, TARGET_GAP) for item in TARGETS]
        items += [(item, SOURCE_AREA, SOURCE_GAP) for item in SOURCES]
        if distractors:
            items += [(item, COUNTER_AREA, SOURCE_GAP) for item in DISTRACTORS]
        if all(_place(rng, item, area, gap, placed, radii) for item, area, gap in items):
            return placed
    raise SceneError(f'No free arrangement for seed {seed} in {_TRIES} tries; use another seed.')


def _place(
    rng: np.random.Generator,
    item: SceneObject,
    area: tuple[float, float, float, float],
    gap: float,
    placed: dict[str, Placement],
    radii: dict[str, tuple[float, float]],
) -> bool:
    for _ in range(30):
        x, y = rng.uniform(area[0], area[1]), rng.uniform(area[2], area[3])
        clear = all(
            math.hypot(x - other.x, y - other.y) > item.radius + radius + max(gap, other_gap)
            for other, (radius, other_gap) in zip(placed.values(), radii.values(), strict=True)
        )
        if clear:
            placed[item.name] = Placement(x, y, rng.uniform(-item.yaw_range, item.yaw_range))
            radii[item.name] = (item.radius, gap)
            return True
    return False
