# SPDX-License-Identifier: Apache-2.0
"""Boards of NVIDIA's Jetson: their INA3221 measures power rail by rail, here added up over time.

They have no counter of energy. Volts and amperes are read in a thread of its own, and power runs
straight between two readings, which is what jetson-stats shows as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

HWMON = Path('/sys/class/hwmon')
WHOLE_BOARD = 'VDD_IN'
"""The rail that feeds all others, on boards that measure it; elsewhere all rails are added up."""
_CHIP = 'ina3221'
_CHANNELS = (1, 2, 3)
_PERIOD_S = 0.02
_MICRO = 1e-6  # millivolts times milliamperes


class Rail(NamedTuple):
    """Where a rail's volts and amperes are read."""

    name: str
    millivolts: Path
    milliamperes: Path


class Rails:
    """Energy of a board, from the first reading on."""

    name = 'Jetson rails'

    def __init__(
        self,
        root: Path = HWMON,
        period_s: float = _PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Find the rails and begin to read them.

        Args:
            root: of the kernel's hardware monitors.
            period_s: between two readings.
            clock: seconds.
        """
        self._rails, self._clock = rails_of(root), clock
        self._lock = threading.Lock()
        self._joules = 0.0
        self._last = self._read()
        if self._rails:
            reader = threading.Thread(target=self._run, args=(period_s,), daemon=True)
            reader.start()

    def joules(self) -> float | None:
        """Since the last call; None where nothing is measured."""
        if not self._rails or not self.look():
            return None
        with self._lock:
            used, self._joules = self._joules, 0.0
        return used

    def look(self) -> bool:
        """Read the rails now; whether they could be read."""
        with self._lock:
            now = self._read()
            if now is None or self._last is None:
                return False
            seconds = now[0] - self._last[0]
            self._joules += 0.5 * (now[1] + self._last[1]) * seconds
            self._last = now
            return True

    def _run(self, period_s: float) -> None:
        while self.look():
            time.sleep(period_s)

    def _read(self) -> tuple[float, float] | None:
        """(seconds, watts)."""
        try:
            products = [
                int(rail.millivolts.read_text(encoding='ascii'))
                * int(rail.milliamperes.read_text(encoding='ascii'))
                for rail in self._rails
            ]
        except (OSError, ValueError):
            return None
        return self._clock(), _MICRO * sum(products)


def rails_of(root: Path) -> list[Rail]:
    """The rails whose sum is what the board takes."""
    found = [
        rail
        for chip in sorted(root.glob('hwmon*'))
        if _text(chip / 'name') == _CHIP
        for rail in _of_chip(chip)
    ]
    whole = [rail for rail in found if rail.name == WHOLE_BOARD]
    return whole or found


def _of_chip(chip: Path) -> Iterator[Rail]:
    for channel in _CHANNELS:
        paths = (chip / f'in{channel}_input', chip / f'curr{channel}_input')
        if all(path.is_file() for path in paths):
            yield Rail(_text(chip / f'in{channel}_label'), *paths)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='ascii').strip()
    except OSError:
        return ''
