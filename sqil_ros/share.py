# SPDX-License-Identifier: Apache-2.0
"""Where the package's own files are: configuration, launch files, models."""

from __future__ import annotations

from pathlib import Path

from sqil_ros.errors import SqilError


def share_directory() -> Path:
    """The checkout, or ``share/sqil_ros`` of the prefix that colcon or pip installed into.

    Raises:
        SqilError: neither is above this file.
    """
    parents = Path(__file__).resolve().parents
    for candidate in (parents[1], *(parent / 'share' / 'sqil_ros' for parent in parents)):
        if (candidate / 'package.xml').is_file():
            return candidate
    raise SqilError(
        f'No package.xml beside {parents[1]} nor under share/sqil_ros of a prefix above it; '
        'install the package with colcon or pip, or use it from a checkout.'
    )
