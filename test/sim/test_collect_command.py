# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / 'sqil-collect'
pytestmark = [
    pytest.mark.sim,
    pytest.mark.skipif(not COMMAND.exists(), reason='the package is not installed'),
]


def test_the_installed_command_starts_its_worker_processes(tmp_path):
    """Workers import the script of the command: without a guard it would start itself anew."""
    asked = ['--out', str(tmp_path), '--episodes', '1', '--tasks', 'lift_eggplant']
    run = subprocess.run(
        [COMMAND, *asked, '--workers', '2'], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert len(list(tmp_path.rglob('images0/im_0.jpg'))) == 1
