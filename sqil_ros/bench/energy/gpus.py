# SPDX-License-Identifier: Apache-2.0
"""NVIDIA GPUs, which count millijoules since their driver was loaded (NVML, from Volta on)."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_uint, c_ulonglong, c_void_p
from typing import Any

_LIBRARY = 'libnvidia-ml.so.1'
_MILLI = 1e-3
_SUCCESS = 0


class Gpus:
    """All GPUs of the machine."""

    name = 'NVIDIA GPUs'

    def __init__(self, library: Any = None) -> None:
        """Find them.

        Args:
            library: with NVML's functions; the driver's if left out.
        """
        self._library = _opened() if library is None else library
        self._gpus = [] if self._library is None else self._found()
        self._last = self._read()

    def joules(self) -> float | None:
        """Since the last call; None where nothing is measured."""
        before, self._last = self._last, self._read()
        if not self._gpus or None in (*before, *self._last):
            return None
        return _MILLI * (sum(filter(None, self._last)) - sum(filter(None, before)))

    def _found(self) -> list[c_void_p]:
        count = c_uint()
        if self._library.nvmlInit_v2() != _SUCCESS:
            return []
        if self._library.nvmlDeviceGetCount_v2(byref(count)) != _SUCCESS:
            return []
        gpus = [c_void_p() for _ in range(count.value)]
        return [
            gpu
            for index, gpu in enumerate(gpus)
            if self._library.nvmlDeviceGetHandleByIndex_v2(c_uint(index), byref(gpu)) == _SUCCESS
        ]

    def _read(self) -> list[int | None]:
        found: list[int | None] = []
        for gpu in self._gpus:
            used = c_ulonglong()
            status = self._library.nvmlDeviceGetTotalEnergyConsumption(gpu, byref(used))
            found.append(used.value if status == _SUCCESS else None)
        return found


def _opened() -> Any:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
