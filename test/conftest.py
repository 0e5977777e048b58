# SPDX-License-Identifier: Apache-2.0
"""What every test shares: nodes stay on this machine, and ROS tests need ROS."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import pytest

pytest_plugins = ['pytester', 'realtime']

# Set before anything starts a node; a developer's own choice stands.
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
# Before anything imports Triton: without a GPU its interpreter runs the kernels, on the CPU.
if not Path('/dev/nvidiactl').exists():
    os.environ.setdefault('TRITON_INTERPRET', '1')


def pytest_configure() -> None:
    """Let the processes of tests hear SIGINT, which a shell's background job ignores."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # after the conftests of the folders have marked their tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip ROS tests where ROS is missing, except in CI: there that is a broken set-up."""
    if importlib.util.find_spec('rclpy') is not None:
        return
    reason = 'rclpy is not installed; `make setup` installs it'
    if os.environ.get('CI') == 'true':
        raise pytest.UsageError(reason)
    for item in items:
        if item.get_closest_marker('ros'):
            item.add_marker(pytest.mark.skip(reason=reason))
