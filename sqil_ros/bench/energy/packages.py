# SPDX-License-Identifier: Apache-2.0
"""Processor packages: Intel and AMD count microjoules in the kernel's power zones (RAPL)."""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path('/sys/class/powercap')
_ZONES = 'intel-rapl:[0-9]*'  # AMD's too; zones within a package have a second number
_MICRO = 1e-6


class Packages:
    """One zone a package; a counter begins anew at its range."""

    name = 'processor packages'

    def __init__(self, root: Path = POWERCAP) -> None:
        """Find the counters that this account may read.

        Args:
            root: of the power zones.
        """
        zones = [zone for zone in sorted(root.glob(_ZONES)) if zone.name.count(':') == 1]
        self._zones = [zone for zone in zones if _number(zone / 'energy_uj') is not None]
        self._ranges = [_number(zone / 'max_energy_range_uj') or 0 for zone in self._zones]
        self._last = self._read()

    def joules(self) -> float | None:
        """Since the last call; None where nothing is measured."""
        before, self._last = self._last, self._read()
        if not self._zones or len(self._last) != len(before):
            return None
        used = (
            now - then if now >= then else now - then + range_
            for now, then, range_ in zip(self._last, before, self._ranges, strict=True)
        )
        return _MICRO * sum(used)

    def _read(self) -> list[int]:
        found = [_number(zone / 'energy_uj') for zone in self._zones]
        return [number for number in found if number is not None]


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding='ascii'))
    except (OSError, ValueError):
        return None
