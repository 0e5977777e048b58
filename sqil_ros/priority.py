# SPDX-License-Identifier: Apache-2.0
"""Precedence on a busy processor."""

import os
from pathlib import Path


def go_first(niceness: int, process: int = 0) -> bool:
    """Let this process, or another one, run before others; False where the system forbids it.

    A late cycle is a jerk, and a very late one trips the watchdog; who asks for this sleeps most
    of the time. Without the privilege (``ulimit -e``) nothing changes.

    Linux shares the processor between sessions first, and niceness counts only inside one, so a
    process that leads a session raises that as well.
    """
    process = process or os.getpid()
    try:
        os.setpriority(os.PRIO_PROCESS, process, niceness)
        group = Path(f'/proc/{process}/autogroup')
        if os.getsid(process) == process and group.exists():
            group.write_text(str(niceness))
    except PermissionError:
        return False
    return True
