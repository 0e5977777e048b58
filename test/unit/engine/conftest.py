# SPDX-License-Identifier: Apache-2.0
"""Every test of this folder computes in the engine, at a level that is given back afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sqil_ros.engine.library import LEVELS, choose_level, level, library
from sqil_ros.errors import EngineError


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    if library() is None:
        pytest.skip('the engine is not built: `make setup`')
    before, threads = level(), torch.get_num_threads()
    yield
    choose_level(before)
    torch.set_num_threads(threads)


@pytest.fixture(params=LEVELS)
def each_level(request: pytest.FixtureRequest) -> str:
    """Every instruction set that this machine has."""
    try:
        choose_level(request.param)
    except EngineError as error:
        pytest.skip(str(error))
    return str(request.param)
