# SPDX-License-Identifier: Apache-2.0
"""LIBERO without LIBERO: fingers that go where they are told, and things that stick to them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sqil_training.libero.arm import LiberoArm
from sqil_training.libero.objects import BASKET, ITEMS
from sqil_training.libero.spatial import OTHER, PLATE
from sqil_training.libero.suite import Item
from sqil_training.libero.tasks import CONTRACT, task_by_name

from sqil_ros.contract import Contract
from sqil_ros.sim.tasks import SceneState
from sqil_ros.types import Array, Image, Pose

LEVEL = np.array([0.0, 0.0, 0.0, 1.0])
HANDLES = {item.name: item for item in ITEMS}


class World:
    """Stands in for `LiberoScene`: kinematics of one control step, no physics."""

    def __init__(self, *things: Item, target: str = BASKET, floor: float = 0.05) -> None:
        self.contract = Contract.load(CONTRACT)
        self._items = {item.name: item for item in things}
        self._things = tuple(self._items)
        self._target, self._floor = target, floor
        self.place(0)

    def place(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._tcp = Pose(np.array([0.45, 0.0, 0.26]), np.array(self.contract.tool_down))
        self._closing, self._opening = -1.0, 1.0
        self._objects = {self._target: np.array([0.59, 0.26, 0.0])}
        for i, name in enumerate(self._things):
            self._objects[name] = np.array([0.45 + 0.12 * i, -0.2, 0.04]) + [
                *rng.normal(scale=0.01, size=2), 0.0,
            ]  # fmt: skip

    restore = place

    def step(self, command: Array) -> None:
        start = self._tcp.position
        self._tcp = Pose(start + 0.05 * command[:3], self._tcp.quaternion)
        # As robosuite's fingers: what they are told slides from open to closed in eight steps.
        self._closing = float(np.clip(self._closing + 0.25 * np.sign(command[6]), -1.0, 1.0))
        self._opening = 0.5 - 0.5 * self._closing
        for name in self._things:
            item = self._items[name]
            near = np.linalg.norm(start - self._objects[name] - item.grip) < 0.01
            if near and 0.08 * self._opening <= item.width:
                self._opening = item.width / 0.08
                self._objects[name] = self._objects[name] + self._tcp.position - start
            elif np.linalg.norm((self._objects[name] - self._objects[self._target])[:2]) < 0.05:
                self._objects[name][2] = self._floor

    def success(self) -> bool:
        off = self._objects[self._things[0]] - self._objects[self._target]
        return bool(np.linalg.norm(off[:2]) < 0.05 and off[2] < 2.0 * self._floor)

    def tcp(self) -> Pose:
        return self._tcp

    def gripper_opening(self) -> float:
        return self._opening

    def state(self) -> SceneState:
        objects = {name: Pose(place.copy(), LEVEL) for name, place in self._objects.items()}
        return SceneState(self._tcp, self._opening, objects)

    def render(self) -> tuple[Image, ...]:
        return tuple(np.full((128, 128, 3), 90, np.uint8) for _ in self.contract.cameras)

    def project(self, points: Array) -> Array:
        return np.stack([0.5 + 0.1 * points[:, :2] for _ in self.contract.cameras])


@pytest.fixture
def arm() -> LiberoArm:
    """An arm before a can of soup, a packet of butter and a basket."""
    return LiberoArm(World(HANDLES['alphabet_soup'], HANDLES['butter']))


@pytest.fixture
def bowls() -> LiberoArm:
    """An arm before a bowl on the stove, one on the cabinet and a plate."""
    meant, other = (
        task_by_name(name).item for name in ('bowl_on_the_stove', 'bowl_on_the_wooden_cabinet')
    )
    return LiberoArm(
        World(meant, dataclasses.replace(other, name=OTHER), target=PLATE, floor=0.01)
    )
