# SPDX-License-Identifier: Apache-2.0
"""Opens the ports and runs the cycle: one thread, so nothing needs a lock."""

from __future__ import annotations

import asyncio
import gc
import os
import selectors
import signal

from sqil_ros.sim.side_channel import PORT as SIDE_CHANNEL_PORT
from sqil_ros.sim.ur_controller import dashboard, gripper, rtde_server, script_port
from sqil_ros.sim.ur_controller.controller import Controller
from sqil_ros.sim.ur_controller.net import LineConnection, listen
from sqil_ros.sim.ur_controller.side_channel import SideChannelServer

# A controller that fell further behind than this goes on from now instead of catching up.
_RESYNCHRONISE_S = 0.1
_PARENT_CHECK_S = 0.5


def serve(controller: Controller, lifetime_s: float | None, watch_parent: bool) -> None:
    """Run ``controller`` until SIGTERM, SIGINT, the end of ``lifetime_s`` or of the parent.

    Raises:
        RobotUnreachable: one of the ports cannot be opened.
    """
    # select() waits with microseconds; epoll, asyncio's default, rounds up to a millisecond,
    # which is half a cycle at 500 Hz.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    try:
        loop.run_until_complete(_run(controller, lifetime_s, watch_parent))
    finally:
        loop.close()


async def _run(controller: Controller, lifetime_s: float | None, watch_parent: bool) -> None:
    finished = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, finished.set)
    if lifetime_s is not None:
        loop.call_later(lifetime_s, finished.set)
    if watch_parent:
        _finish_without_parent(os.getppid(), finished)
    servers = await _listen(controller)
    gc.collect()
    gc.freeze()
    settings = controller.settings
    version = '.'.join(map(str, settings.version))
    print(f'ready host={settings.host} rate={settings.rate:g} version={version}', flush=True)
    try:
        await _cycles(controller, finished)
    finally:
        for server in servers:
            server.close()


async def _listen(controller: Controller) -> list[asyncio.Server]:
    """Open every port of the robot."""
    network, settings, robot = controller.network, controller.settings, controller.robot
    panel = dashboard.Dashboard(controller)
    side_channel = SideChannelServer(controller)
    factories = {
        rtde_server.PORT: lambda: rtde_server.RtdeConnection(
            network, robot.registers, controller.received, settings.version, settings.rate
        ),
        dashboard.PORT: lambda: LineConnection(network, panel.answer, dashboard.BANNER),
        gripper.PORT: lambda: LineConnection(network, controller.gripper.answer),
        # The side channel is the laboratory's, not the robot's: it survives a dropped link.
        SIDE_CHANNEL_PORT: lambda: LineConnection(None, side_channel.answer),
        **dict.fromkeys(
            script_port.PORTS,
            lambda: script_port.ScriptConnection(
                network, controller.upload, controller.refuse_upload
            ),
        ),
    }
    return [await listen(settings.host, port, make) for port, make in factories.items()]


async def _cycles(controller: Controller, finished: asyncio.Event) -> None:
    """Run cycles at absolute deadlines, so that one late cycle does not delay all others."""
    loop = asyncio.get_running_loop()
    period = controller.robot.step_time
    statistics = controller.statistics
    due = loop.time() + period
    while not finished.is_set():
        # Without time left this still lets the sockets have their turn.
        await asyncio.sleep(max(0.0, due - loop.time()))
        now = loop.time()
        if now - due > period:
            statistics.late_cycles += 1
            statistics.worst_late_ms = max(statistics.worst_late_ms, 1e3 * (now - due))
        controller.cycle(now)
        due = due + period if now - due < _RESYNCHRONISE_S else now + period


def _finish_without_parent(parent: int, finished: asyncio.Event) -> None:
    """Finish once the process that started this one is gone."""
    if os.getppid() != parent:
        finished.set()
        return
    loop = asyncio.get_running_loop()
    loop.call_later(_PARENT_CHECK_S, _finish_without_parent, parent, finished)
