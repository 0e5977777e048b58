# SPDX-License-Identifier: Apache-2.0
"""LIBERO-Object: ten things that belong into a basket, one task each.

The suite is that of Liu et al. (2023), "LIBERO: Benchmarking Knowledge Transfer for Lifelong
Robot Learning"; sizes were measured on its collision geometry.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqil_ros.errors import SceneError
from sqil_ros.share import share_directory

CONTRACT = share_directory() / 'config' / 'libero_contract.yaml'
SUITE = 'libero_object'
INITIAL_STATES, PLACEMENTS = 'initial_states', 'placements'
STARTS = (INITIAL_STATES, PLACEMENTS)
"""LIBERO's own initial states, which judge, or new placements by its sampler."""
FIRST_HELD_OUT_SEED = 9000
"""Placements of seeds from here on are never demonstrated."""
BASKET = 'basket'
CONTROL_STEPS = 4
"""LIBERO's control steps (20 Hz) to one action of the policy (5 Hz)."""
MAX_STEPS = 70
"""Actions to an episode: 280 control steps, as OpenVLA was evaluated on this suite."""


@dataclass(frozen=True)
class Item:
    """A thing to be moved.

    Attributes:
        name: LIBERO's category.
        grip_height: where the fingers hold it, above the origin of its body [m]; the palm is 33 mm
            above the fingers' middle, so no more than that below its top.
        width: distance of the finger pads while they hold it [m].
    """

    name: str
    grip_height: float
    width: float


@dataclass(frozen=True)
class LiberoTask:
    """One task of the suite.

    Attributes:
        name: what has to be moved.
        index: LIBERO's number of the task.
        item: its handle.
    """

    name: str
    index: int
    item: Item

    @property
    def instruction(self) -> str:
        """LIBERO's sentence."""
        return f'pick up the {self.name.replace("_", " ")} and place it in the basket'

    @property
    def libero_name(self) -> str:
        """LIBERO's name of the task."""
        return self.instruction.replace(' ', '_')


ITEMS = (
    Item('alphabet_soup', 0.010, 0.063),
    Item('cream_cheese', 0.003, 0.042),
    Item('salad_dressing', 0.048, 0.037),
    Item('bbq_sauce', 0.027, 0.046),
    Item('ketchup', 0.048, 0.040),
    Item('tomato_sauce', 0.010, 0.062),
    Item('butter', 0.003, 0.040),
    Item('milk', 0.036, 0.053),
    Item('chocolate_pudding', 0.000, 0.046),
    Item('orange_juice', 0.036, 0.053),
)
POINTS = (*(item.name for item in ITEMS), BASKET)
"""Things whose places are recorded, in this order; among the key points the TCP comes last."""
TASKS = tuple(LiberoTask(item.name, index, item) for index, item in enumerate(ITEMS))
_BY_NAME = {task.name: task for task in TASKS}


def task_by_name(name: str) -> LiberoTask:
    """The task called ``name``.

    Raises:
        SceneError: there is no such task.
    """
    if name not in _BY_NAME:
        raise SceneError(f'Unknown LIBERO task {name!r}; the tasks are {", ".join(_BY_NAME)}.')
    return _BY_NAME[name]
