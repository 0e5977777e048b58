# SPDX-License-Identifier: Apache-2.0
"""LIBERO-Object: ten things that belong into a basket, one task each.

Every thing lies in the one orientation that LIBERO gives it, with its narrow side across the
fingers of a tool that is not turned. Sizes were measured on LIBERO's collision geometry.
"""

from __future__ import annotations

from sqil_training.libero.suite import Item, LiberoTask, Suite, Target

NAME = 'libero_object'
BASKET = 'basket'
MAX_STEPS = 70
"""280 control steps, as OpenVLA was evaluated on this suite."""
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
TASKS = tuple(
    LiberoTask(
        item.name,
        NAME,
        index,
        f'pick up the {item.name.replace("_", " ")} and place it in the basket',
        item,
    )
    for index, item in enumerate(ITEMS)
)
OBJECT = Suite(
    NAME,
    TASKS,
    POINTS,
    # Over standing bottles, with a bottle over the basket's rim, and over the basket.
    Target(BASKET, 0.22, 0.30, 0.17, radius=0.06, height=0.19),
    MAX_STEPS,
)
