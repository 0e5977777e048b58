# SPDX-License-Identifier: Apache-2.0
"""How much of a file a process holds in memory."""

from __future__ import annotations

from pathlib import Path


def resident(path: Path) -> int:
    """Bytes of the file that count as this process's memory."""
    total, here = 0, False
    for line in Path('/proc/self/smaps').read_text(encoding='utf-8').splitlines():
        name, _, value = line.partition(':')
        if '-' in name.split(' ')[0]:
            here = line.endswith(str(path))
        elif here and name == 'Rss':
            total += int(value.split()[0]) << 10
    return total
