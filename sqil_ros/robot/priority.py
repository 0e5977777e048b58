# SPDX-License-Identifier: Apache-2.0
"""Precedence on a busy processor."""

import contextlib
import os


def go_first(niceness: int, process: int = 0) -> None:
    """Let this process, or another one, run before others where the system allows it.

    A late cycle is a jerk, and a very late one trips the watchdog; who asks for this sleeps most
    of the time. Without the privilege (``ulimit -e``) nothing changes.
    """
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, process, niceness)
