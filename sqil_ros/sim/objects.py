# SPDX-License-Identifier: Apache-2.0
"""The toy sink's objects, built from MuJoCo primitives (metres, kilograms, radians)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import mujoco

GEOM = mujoco.mjtGeom
# Collision groups: the counter is in the first, discs only in the second, all else in both.
THE_COUNTER, NOT_THE_COUNTER, EVERYTHING = 1, 2, 3
PURPLE = (0.36, 0.10, 0.42, 1.0)
LILAC = (0.62, 0.30, 0.78, 1.0)
GREEN = (0.16, 0.62, 0.24, 1.0)
YELLOW = (0.95, 0.80, 0.18, 1.0)
STEEL = (0.55, 0.57, 0.60, 1.0)
LEAF = (0.25, 0.55, 0.15, 1.0)


@dataclass(frozen=True)
class SceneObject:
    """An object on the counter.

    Attributes:
        name: body name.
        radius: footprint [m] used to keep objects apart.
        rest_height: height of the body's origin above the counter at rest [m].
        yaw_range: largest initial turn about z [rad] to either side.
        build: adds the geoms to a body.
    """

    name: str
    radius: float
    rest_height: float
    yaw_range: float
    build: Callable[[mujoco.MjsBody], None]


def _soft_contact(geom: mujoco.MjsGeom) -> None:
    geom.contype = geom.conaffinity = EVERYTHING
    geom.condim = 4
    geom.friction = [1.0, 0.02, 0.001]
    geom.solref = [0.005, 1.0]
    geom.solimp = [0.95, 0.99, 0.001, 0.5, 2.0]


def _base(body: mujoco.MjsBody, radius: float, height: float, mass: float, rgba: tuple) -> None:
    """A disc on four round feet.

    Feet give one steady contact each where a disc on a box gives a flickering handful; the disc
    itself ignores the counter and only carries what is put on it.
    """
    foot = 0.003
    for i in range(4):
        angle = math.pi * (0.25 + 0.5 * i)
        support = body.add_geom(
            type=GEOM.mjGEOM_SPHERE,
            size=[foot, 0.0, 0.0],
            pos=[0.75 * radius * math.cos(angle), 0.75 * radius * math.sin(angle), foot],
            mass=0.25 * mass,
            rgba=rgba,
        )
        _soft_contact(support)
    disc = body.add_geom(
        type=GEOM.mjGEOM_CYLINDER,
        size=[radius, 0.5 * height, 0.0],
        pos=[0.0, 0.0, 0.001 + 0.5 * height],
        mass=0.0,
        rgba=rgba,
    )
    _soft_contact(disc)
    disc.contype = disc.conaffinity = NOT_THE_COUNTER


def _ring(
    body: mujoco.MjsBody,
    radius: float,
    height: float,
    half_thickness: float,
    boxes: int,
    mass: float,
    rgba: tuple,
) -> None:
    """A wall of tangential boxes, three millimetres off the ground so that only feet touch it."""
    foot = 0.003
    half_width = radius * math.tan(math.pi / boxes) + half_thickness
    for i in range(boxes):
        angle = 2.0 * math.pi * i / boxes
        geom = body.add_geom(
            type=GEOM.mjGEOM_BOX,
            size=[half_thickness, half_width, 0.5 * (height - foot)],
            pos=[radius * math.cos(angle), radius * math.sin(angle), 0.5 * (height + foot)],
            quat=[math.cos(0.5 * angle), 0.0, 0.0, math.sin(0.5 * angle)],
            mass=mass / boxes,
            rgba=rgba,
        )
        _soft_contact(geom)


def _eggplant(body: mujoco.MjsBody) -> None:
    belly = body.add_geom(
        type=GEOM.mjGEOM_ELLIPSOID,
        size=[0.036, 0.025, 0.024],
        pos=[0.012, 0.0, 0.0],
        mass=0.05,
        rgba=PURPLE,
    )
    neck = body.add_geom(
        type=GEOM.mjGEOM_CAPSULE,
        size=[0.018, 0.020, 0.0],
        pos=[-0.018, 0.0, -0.003],
        quat=[math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0],
        mass=0.03,
        rgba=PURPLE,
    )
    for geom in (belly, neck):
        _soft_contact(geom)
    for start, length, radius in ((-0.056, 0.006, 0.013), (-0.068, 0.008, 0.005)):
        body.add_geom(
            type=GEOM.mjGEOM_CYLINDER,
            size=[radius, length, 0.0],
            pos=[start, 0.0, -0.003],
            quat=[math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0],
            mass=0.001,
            contype=0,
            conaffinity=0,
            rgba=LEAF,
        )


def _pot(body: mujoco.MjsBody) -> None:
    _base(body, 0.070, 0.005, 0.2, STEEL)
    _ring(body, 0.070, 0.045, 0.003, 16, 0.25, STEEL)
    for side in (-1.0, 1.0):
        handle = body.add_geom(
            type=GEOM.mjGEOM_CAPSULE,
            size=[0.005, 0.022, 0.0],
            pos=[0.0, side * 0.083, 0.036],
            quat=[math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0],
            mass=0.01,
            rgba=(0.15, 0.15, 0.16, 1.0),
        )
        _soft_contact(handle)


def _plate(body: mujoco.MjsBody) -> None:
    _base(body, 0.075, 0.006, 0.25, YELLOW)
    _ring(body, 0.075, 0.013, 0.003, 18, 0.1, YELLOW)


def _purple_cup(body: mujoco.MjsBody) -> None:
    _base(body, 0.026, 0.005, 0.04, LILAC)
    _ring(body, 0.026, 0.070, 0.002, 12, 0.04, LILAC)


def _green_cup(body: mujoco.MjsBody) -> None:
    _base(body, 0.042, 0.005, 0.15, GREEN)
    _ring(body, 0.042, 0.050, 0.002, 12, 0.15, GREEN)


def _sponge(body: mujoco.MjsBody) -> None:
    _soft_contact(
        body.add_geom(
            type=GEOM.mjGEOM_BOX,
            size=[0.035, 0.022, 0.014],
            pos=[0.0, 0.0, 0.014],
            mass=0.05,
            rgba=(0.85, 0.25, 0.2, 1.0),
        )
    )


def _carton(body: mujoco.MjsBody) -> None:
    _soft_contact(
        body.add_geom(
            type=GEOM.mjGEOM_BOX,
            size=[0.024, 0.024, 0.045],
            pos=[0.0, 0.0, 0.045],
            mass=0.2,
            rgba=(0.2, 0.35, 0.75, 1.0),
        )
    )


EGGPLANT = SceneObject('eggplant', 0.060, 0.0245, math.radians(60), _eggplant)
PURPLE_CUP = SceneObject('purple_cup', 0.032, 0.0, math.pi, _purple_cup)
GREEN_CUP = SceneObject('green_cup', 0.048, 0.0, math.pi, _green_cup)
POT = SceneObject('pot', 0.080, 0.0, math.radians(40), _pot)
PLATE = SceneObject('plate', 0.080, 0.0, math.pi, _plate)
TASK_OBJECTS = (EGGPLANT, PURPLE_CUP, GREEN_CUP, POT, PLATE)
DISTRACTORS = (
    SceneObject('sponge', 0.045, 0.0, math.pi, _sponge),
    SceneObject('carton', 0.030, 0.0, math.pi, _carton),
)


def add_object(world: mujoco.MjsBody, item: SceneObject, parked_at: tuple[float, float]) -> None:
    """Add ``item`` as a free body, parked out of the way until the scene is reset."""
    body = world.add_body(name=item.name, pos=[*parked_at, item.rest_height])
    body.add_freejoint(name=item.name)
    item.build(body)
