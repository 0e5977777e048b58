# SPDX-License-Identifier: Apache-2.0
"""Worker processes that do not outlive who started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """End this worker process when its parent is gone, however that went.

    multiprocessing ends daemons only if their parent leaves in order; after a SIGTERM or SIGKILL
    they would go on for hours and take the processor from the next run.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        watch = threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True)
        watch.start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
