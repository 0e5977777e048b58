# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """A scoring process takes one thread; give the others back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
