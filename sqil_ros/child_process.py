# SPDX-License-Identifier: Apache-2.0
"""A module of this package as a child process that inherits one end of a connection."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def start_module(
    module: str, end: int, *arguments: str, **environment: str
) -> subprocess.Popen[bytes]:
    """Run ``python -m module end arguments`` with the file descriptor ``end`` open.

    It leads a session of its own: Ctrl-C is for the node, which ends its children in order, and
    see :func:`sqil_ros.priority.go_first`.
    """
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH', '')]))
    return subprocess.Popen(
        [sys.executable, '-m', module, str(end), *arguments],
        pass_fds=[end],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment, 'PYTHONPATH': path},
        start_new_session=True,
    )
