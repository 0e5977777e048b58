# SPDX-License-Identifier: Apache-2.0
"""What the things of a scene are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def distinct(instances: Sequence[str]) -> list[str]:
    """LIBERO's category of every instance; the instance itself where the category has several.

    Args:
        instances: LIBERO's names, category and number: ``plate_1``.
    """
    categories = [name.rsplit('_', 1)[0] for name in instances]
    count = Counter(categories)
    return [
        category if count[category] == 1 else name
        for name, category in zip(instances, categories, strict=True)
    ]
