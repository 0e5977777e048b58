# SPDX-License-Identifier: Apache-2.0
"""LIBERO-Spatial: of two equal black bowls the one that the words mean belongs on the plate.

A bowl is held by the side of its rim that the things around it leave free. LIBERO's fifth task,
the bowl in the drawer, is left out: around that rim there is no room for fingers that do not turn.
"""

from __future__ import annotations

from sqil_training.libero.suite import Item, LiberoTask, Suite, Target

NAME = 'libero_spatial'
MEANT, OTHER, PLATE = 'akita_black_bowl_1', 'akita_black_bowl_2', 'plate'
"""LIBERO counts the bowls so that a scene's own sentence means the first."""
POINTS = (
    MEANT, OTHER, PLATE,
    'glazed_rim_porcelain_ramekin', 'cookies', 'flat_stove', 'wooden_cabinet',
)  # fmt: skip
MAX_STEPS = 55
"""220 control steps, as OpenVLA was evaluated on this suite."""
# From a bowl's axis to its wall, on the right and on the left of the robot's x axis [m].
_RIGHT, _LEFT = -0.048, 0.048
# On the ramekin a bowl leans forward by a sixth of a right angle [m].
_LEANING = 0.013


def _task(index: int, where: str, second: str, side: float, forth: float = 0.0) -> LiberoTask:
    return LiberoTask(
        f'bowl_{where}',
        NAME,
        index,
        f'pick up the black bowl {where.replace("_", " ")} and place it on the plate',
        Item(MEANT, grip_height=0.034, width=0.006, beside=(forth, side)),
        f'bowl_{second}',
    )


TASKS = (
    _task(0, 'between_the_plate_and_the_ramekin', 'next_to_the_ramekin', _RIGHT),
    _task(1, 'next_to_the_ramekin', 'next_to_the_cookie_box', _LEFT),
    _task(2, 'from_table_center', 'next_to_the_plate', _LEFT),
    _task(3, 'on_the_cookie_box', 'on_the_wooden_cabinet', _RIGHT),
    _task(5, 'on_the_ramekin', 'on_the_cookie_box', _RIGHT, _LEANING),
    _task(6, 'next_to_the_cookie_box', 'on_the_stove', _LEFT),
    _task(7, 'on_the_stove', 'on_the_wooden_cabinet', _LEFT),
    _task(8, 'next_to_the_plate', 'next_to_the_ramekin', _LEFT),
    _task(9, 'on_the_wooden_cabinet', 'on_the_stove', _LEFT),
)
SPATIAL = Suite(
    NAME,
    TASKS,
    POINTS,
    # Over a bowl on the cabinet, with a bowl over that, and with a bowl just over the plate.
    Target(PLATE, 0.32, 0.30, 0.045, radius=0.028, height=0.03),
    MAX_STEPS,
    (MEANT, OTHER),
)
