# SPDX-License-Identifier: Apache-2.0
"""What becomes of memory that a product gives back."""

from __future__ import annotations

import ctypes
import sys

_LARGEST = 32 << 20
"""Bytes; glibc lets no larger block stay."""
_TRIM, _MMAP = -1, -3
"""As in its ``malloc.h``."""


def keep_freed_memory() -> None:
    """Let blocks that are freed stay with this process, where glibc manages memory.

    It returns large ones to the system, or does not, as the blocks before happened to lie; a
    product then waits for new pages of its outputs, which can take half as long as the product.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None) if sys.platform == 'linux' else None
    if mallopt is not None:
        mallopt(_MMAP, _LARGEST)
        mallopt(_TRIM, 1 << 30)
