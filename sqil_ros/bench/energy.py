# SPDX-License-Identifier: Apache-2.0
"""Energy that the machine says it has used, where it says so; never an estimate.

Intel and AMD processors count microjoules in ``/sys/class/powercap`` (RAPL), one zone a package;
a counter begins anew at its range. Boards of NVIDIA's Jetson show the power of their rails, and
not energy: that is not read here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar('T')

POWERCAP = Path('/sys/class/powercap')
_PACKAGES = 'intel-rapl:[0-9]*'  # AMD's too; zones within a package have a second number
_MICRO = 1e-6


class EnergyMeter:
    """Joules of all processor packages since the meter was last asked."""

    def __init__(self, root: Path = POWERCAP) -> None:
        """Find the counters.

        Args:
            root: of the kernel's power zones.
        """
        zones = [zone for zone in sorted(root.glob(_PACKAGES)) if zone.name.count(':') == 1]
        self._zones = [zone for zone in zones if _number(zone / 'energy_uj') is not None]
        self._ranges = [_number(zone / 'max_energy_range_uj') or 0 for zone in self._zones]
        self._last = self._read()

    @property
    def works(self) -> bool:
        """Whether there is a counter that this account may read."""
        return bool(self._zones)

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

    def metered(self, work: Callable[[], T]) -> tuple[T, float | None]:
        """What a piece of work brings, and the joules that it took."""
        self.joules()
        return work(), self.joules()

    def _read(self) -> list[int]:
        found = [_number(zone / 'energy_uj') for zone in self._zones]
        return [number for number in found if number is not None]


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding='ascii'))
    except (OSError, ValueError):
        return None
