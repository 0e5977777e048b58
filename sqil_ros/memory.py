# SPDX-License-Identifier: Apache-2.0
"""Memory that a process needs no more, given back to the machine."""

from __future__ import annotations

import ctypes
import gc
import mmap
from pathlib import Path

from torch import Tensor

_MAPS = Path('/proc/self/maps')


def give_back() -> None:
    """Collect what nobody holds, and let the system have it.

    Laying out a network frees as much as it keeps, in pieces that the C library would hold on to
    for the next ones. Only glibc can be asked for them; elsewhere they stay.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)


def in_a_file(tensor: Tensor) -> bool:
    """Whether all of a tensor is read from a file as it is touched; only Linux tells."""
    if tensor.device.type != 'cpu' or not tensor.is_contiguous() or not _MAPS.is_file():
        return False
    start, end = _span(tensor)
    for line in _MAPS.read_text(encoding='utf-8').splitlines():
        span, _, _, _, inode, *_ = line.split()
        first, last = (int(address, 16) for address in span.split('-'))
        if first <= start < last:
            return end <= last and inode != '0'
    return False


def let_go(tensor: Tensor) -> None:
    """Forget what was read of a tensor that is :func:`in_a_file`; it is read again when needed.

    To read a row, the system may map megabytes around it.
    """
    page = mmap.PAGESIZE
    start, end = _span(tensor)
    start, end = -(-start // page) * page, end // page * page
    if start < end:
        advise = ctypes.CDLL(None, use_errno=True).madvise
        advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        advise(start, end - start, mmap.MADV_DONTNEED)


def _span(tensor: Tensor) -> tuple[int, int]:
    start = tensor.data_ptr()
    return start, start + tensor.numel() * tensor.element_size()
