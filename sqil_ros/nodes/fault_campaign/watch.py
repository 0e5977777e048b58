# SPDX-License-Identifier: Apache-2.0
"""Watches the simulated arm through the emulator's side channel: its truth, not our node's."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from sqil_ros.errors import SqilError
from sqil_ros.sim.side_channel import SideChannel
from sqil_ros.types import Array

REST_RAD_S = 0.01
MOVED_RAD = 2e-3
_POLL_S = 0.004


@dataclass(frozen=True)
class Look:
    """One look: when (monotonic), the (6,) joints [rad], their fastest and the TCP's speed."""

    at_s: float
    joints: Array
    joint_speed: float
    tcp_speed: float


class ArmWatch:
    """Looks at the arm some 200 times a second from a thread of its own."""

    def __init__(self, host: str) -> None:
        """Start looking."""
        self._channel = SideChannel(host)
        self._looks: list[Look] = []
        self._times: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._end.set()
        self._thread.join()
        self._channel.close()

    @property
    def now(self) -> Look:
        """The newest look.

        Raises:
            SqilError: none within two seconds.
        """
        end_s = time.monotonic() + 2.0
        while not self._looks or time.monotonic() - self._looks[-1].at_s > 1.0:
            if time.monotonic() > end_s:
                raise SqilError('The emulator does not answer any more.')
            time.sleep(0.01)
        return self._looks[-1]

    def rest_after(self, start_s: float) -> float | None:
        """Seconds from ``start_s`` until the last motion seen; None while the arm moves."""
        looks = self._looks[bisect_left(self._times, start_s) :]
        moving = [look.at_s for look in looks if look.joint_speed > REST_RAD_S]
        if not moving:
            return 0.0
        if looks[-1].at_s - moving[-1] < 0.3:
            return None
        following = self._looks[bisect_left(self._times, moving[-1]) + 1]
        return following.at_s - start_s

    def fastest(self, start_s: float) -> float:
        """Highest TCP speed [m/s] since ``start_s``."""
        looks = self._looks[bisect_left(self._times, start_s) :]
        return max((look.tcp_speed for look in looks), default=0.0)

    def moved_since(self, start_s: float) -> float:
        """Largest joint distance [rad] from where the arm was at ``start_s``."""
        looks = self._looks[bisect_left(self._times, start_s) :]
        joints = np.array([look.joints for look in looks])
        return float(np.max(np.abs(joints - joints[0]))) if len(looks) else 0.0

    def _run(self) -> None:
        while not self._end.wait(_POLL_S):
            try:
                answer = self._channel.request('statistics')
            except SqilError:
                continue
            speeds = np.array(answer['joint_speeds'])
            look = Look(
                time.monotonic(),
                np.array(answer['joints']),
                float(np.max(np.abs(speeds))),
                float(np.linalg.norm(answer['tcp_speed'][:3])),
            )
            # The list of times last: who finds a time there also finds its look.
            self._looks.append(look)
            self._times.append(look.at_s)
