# SPDX-License-Identifier: Apache-2.0
"""Runs one function of a client file: arguments in, one JSON line out, no destructors."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

Scenario = Callable[..., dict[str, Any]]


def main(scenarios: dict[str, Any]) -> None:
    name, host, values = sys.argv[1:4]
    try:
        result = scenarios[name](host, **json.loads(values))
    except Exception:  # noqa: BLE001 - the test wants to read it
        result = {'exception': traceback.format_exc()}
    print(json.dumps(result), flush=True)
    # ur_rtde sleeps half a second in every destructor, and may crash in it after a lost link.
    os._exit(0)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether ``condition`` came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return condition()


def say(text: str) -> None:
    """Tell the test that waits for it how far the scenario has come."""
    print(json.dumps({'said': text}), flush=True)
