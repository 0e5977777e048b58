# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from sqil_ros.types import Observation

SIZE = 32


@pytest.fixture
def observation() -> Observation:
    rng = np.random.default_rng(3)
    images = tuple(rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8) for _ in range(2))
    return Observation(images, rng.normal(size=7), rng.normal(size=7), 'lift the eggplant')


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """A scoring process takes one thread; give the others back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
