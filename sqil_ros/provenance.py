# SPDX-License-Identifier: Apache-2.0
"""Where a result comes from: every file under docs/results carries this."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sqil_ros.share import share_directory

_PACKAGES = (
    'numpy', 'torch', 'transformers', 'mujoco', 'dm-control', 'ur-rtde', 'ros-rclpy', 'rclpy',
)  # fmt: skip


def provenance(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Describe this run well enough to repeat it.

    Args:
        arguments: the command line after the interpreter's name; this process's own if left out.

    Returns:
        ``command, commit, modified, date, python, versions{}, machine{}``; ``commit`` is empty
        outside a git checkout, ``modified`` says that the checkout differed from it, ``load`` is
        how many processes wanted a core in the minute before the call.
    """
    return {
        'command': _command(list(sys.orig_argv[1:] if arguments is None else arguments)),
        'commit': _git('rev-parse', 'HEAD'),
        'modified': bool(_git('status', '--porcelain', '--untracked-files=no')),
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'python': platform.python_version(),
        'versions': {name: found for name in _PACKAGES if (found := _version(name))},
        'machine': {
            'processor': _processor(),
            'cores': os.cpu_count(),
            'load': round(os.getloadavg()[0], 1),
            'system': platform.system(),
        },
    }


def _command(words: list[str]) -> str:
    """The command as a reader would type it: no path of this machine."""
    root = f'{share_directory()}{os.sep}'
    if words and words[0].startswith(os.sep):
        words[0] = Path(words[0]).name  # a console script
    else:
        words.insert(0, 'python')
    return ' '.join(_portable(word.replace(root, '')) for word in words)


def _portable(word: str) -> str:
    """A path elsewhere on this machine by its name; any other word as it is."""
    return Path(word).name if word.startswith(os.sep) else word


def _git(*words: str) -> str:
    result = subprocess.run(
        ['git', *words], cwd=share_directory(), capture_output=True, text=True, check=False
    )
    return result.stdout.strip() if result.returncode == 0 else ''


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ''


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()
