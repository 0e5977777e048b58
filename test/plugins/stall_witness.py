# SPDX-License-Identifier: Apache-2.0
"""Sees when the machine stands still: a process on each core that asks to be woken every 5 ms.

It runs ahead of everything of ours where the system lets it, so what holds it up is not our
load but the host's: a core taken away, a quota used up, a paused machine. Run as a program it
writes one line a stall, ``begin_s end_s core``, times of ``time.monotonic``.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

PERIOD_S = 0.005
WORTH_TELLING_S = 0.02


def go_ahead() -> None:
    """Take the highest priority that this process may have."""
    with suppress(PermissionError):
        os.nice(-20)
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def watch(core: int) -> None:
    """Write the stalls of one core until the parent has gone."""
    os.sched_setaffinity(0, {core})
    go_ahead()
    parent = os.getppid()
    before = time.monotonic()
    while os.getppid() == parent:
        time.sleep(PERIOD_S)
        now = time.monotonic()
        if now - before - PERIOD_S > WORTH_TELLING_S:
            os.write(1, f'{before} {now} {core}\n'.encode())
        before = now


if __name__ == '__main__':
    watch(int(sys.argv[1]))
