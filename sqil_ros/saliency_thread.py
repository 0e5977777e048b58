# SPDX-License-Identifier: Apache-2.0
"""The thread that asks, now and then, what the policy looks at, and never makes it wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sqil_ros.policy.own_process import PolicyProcess
from sqil_ros.policy.wire import LiveSaliency
from sqil_ros.policy_loop import Step


class SaliencyThread:
    """Asks a copy of the policy about the newest step; steps in between are dropped.

    The copy is of the profile that acted, and is opened when somebody first wants to see it.
    """

    def __init__(
        self,
        open_copy: Callable[[str], PolicyProcess],
        side: int,
        period_s: float,
        wanted: Callable[[], bool],
        on_look: Callable[[Step, LiveSaliency], None],
        on_lost: Callable[[Exception], None],
    ) -> None:
        """Prepare; :meth:`start` starts.

        Args:
            open_copy: a copy of the policy at a profile, see ``PolicySession.open_copy``.
            side: cells along a side of a picture.
            period_s: least time between two questions.
            wanted: whether anybody would see an answer.
            on_look: called on this thread with what a step's answer hung on.
            on_lost: called on this thread, once, when there will be no more answers.
        """
        self._open_copy, self._side, self._period_s = open_copy, side, period_s
        self._wanted, self._on_look, self._on_lost = wanted, on_look, on_lost
        self._changed = threading.Condition()
        self._newest: Step | None = None
        self._stopped = False
        self._copy: PolicyProcess | None = None
        self._thread = threading.Thread(target=self._run, name='saliency', daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def offer(self, step: Step) -> None:
        """The policy has made a step; returns at once."""
        with self._changed:
            self._newest = step
            self._changed.notify()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Ask no more and end the copy; one that is still being loaded ends when it is."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
            if self._copy is not None:
                self._copy.interrupt()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            due_s = time.monotonic()
            while (step := self._next(due_s)) is not None:
                if self._wanted():
                    due_s = time.monotonic() + self._period_s
                    self._look(step)
        except Exception as error:  # noqa: BLE001  the thread's boundary: the policy goes on
            if not self._stopped:
                self._on_lost(error)
        finally:
            self._close_copy()

    def _next(self, due_s: float) -> Step | None:
        """The newest step at ``due_s`` or, if there is none, the next; None when stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, max(0.0, due_s - time.monotonic()))
            self._changed.wait_for(lambda: self._stopped or self._newest is not None)
            step, self._newest = self._newest, None
            return None if self._stopped else step

    def _look(self, step: Step) -> None:
        assert step.observation is not None
        saliency = self._copy_at(step.profile).look(step.observation, self._side)
        if not self._stopped:
            self._on_look(step, saliency)

    def _copy_at(self, profile: str) -> PolicyProcess:
        if self._copy is None or self._copy.profile != profile:
            self._close_copy()
            opened = self._open_copy(profile)
            with self._changed:
                self._copy = opened
                if self._stopped:
                    opened.interrupt()
        return self._copy

    def _close_copy(self) -> None:
        with self._changed:  # after this nobody interrupts it any more
            copy, self._copy = self._copy, None
        if copy is not None:
            copy.close()
