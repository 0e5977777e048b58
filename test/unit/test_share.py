# SPDX-License-Identifier: Apache-2.0
"""The package finds its files in a checkout and after an installation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sqil_ros.share import share_directory

ROOT = Path(__file__).resolve().parents[2]
TELL = 'from sqil_ros.share import share_directory; print(share_directory())'


def test_in_a_checkout_it_is_the_checkout() -> None:
    assert share_directory() == ROOT


def test_after_an_installation_it_is_the_prefix(tmp_path: Path) -> None:
    packages = tmp_path / 'lib' / 'python3' / 'site-packages'
    (packages / 'sqil_ros').mkdir(parents=True)
    for name in ('__init__.py', 'errors.py', 'share.py'):
        shutil.copy(ROOT / 'sqil_ros' / name, packages / 'sqil_ros')
    ask = [sys.executable, '-c', TELL]
    environment = os.environ | {'PYTHONPATH': str(packages)}
    lost = subprocess.run(ask, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert 'share/sqil_ros' in lost.stderr

    share = tmp_path / 'share' / 'sqil_ros'
    share.mkdir(parents=True)
    shutil.copy(ROOT / 'package.xml', share)
    found = subprocess.run(ask, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert Path(found.stdout.strip()) == share
