# SPDX-License-Identifier: Apache-2.0
"""Every kernel compiles to machine code for an H200, without having one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = 'sqil_ros.quant.triton_kernels.ahead_of_time'


@pytest.mark.slow
def test_kernels_compile(tmp_path: Path) -> None:
    # A process of its own: in this one the interpreter has taken the compiler's place.
    environment = {k: v for k, v in os.environ.items() if k != 'TRITON_INTERPRET'}
    environment['TRITON_CACHE_DIR'] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, '-m', PROGRAM, '90'],
        env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert 'attend_one' in done.stdout
