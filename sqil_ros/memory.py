# SPDX-License-Identifier: Apache-2.0
"""Memory that a process has freed, given back to the machine."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Collect what nobody holds, and let the system have it.

    Laying out a network frees as much as it keeps, in pieces that the C library would hold on to
    for the next ones. Only glibc can be asked for them; elsewhere they stay.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)
