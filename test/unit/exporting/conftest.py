# SPDX-License-Identifier: Apache-2.0
"""A student that has learned for three steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqil_training.quantize import main as quantize
from sqil_training.train import main as train


@pytest.fixture
def trained(checkpoint: Path, data: Path, tmp_path: Path) -> Callable[..., Path]:
    def run(*words: str) -> Path:
        if not (checkpoint / 'profiles' / 'int3_rtn').exists():
            assert quantize(['--checkpoint', str(checkpoint), '--bits', '3']) == 0
        out = tmp_path / 'run'
        asked = ['--checkpoint', checkpoint, '--data', data, '--out', out, '--steps', 3]
        small = ['--batch', 4, '--rank', 2, '--threads', 1, '--device', 'cpu']
        assert train([*map(str, [*asked, *small]), '--learning-rate', '0.01', *words]) == 0
        return out

    return run
