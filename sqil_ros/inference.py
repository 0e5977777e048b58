# SPDX-License-Identifier: Apache-2.0
"""The thread on which a policy thinks, so that a node's executor stays free."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqil_ros.policy.base import Policy
from sqil_ros.policy_loop import PolicyLoop, Step

_IDLE_S = 0.05


class InferenceThread:
    """Runs :meth:`PolicyLoop.step` until stopped or until the policy breaks.

    The policy is asked for anew before every step: that is the moment at which another profile
    may take over.
    """

    def __init__(
        self,
        loop: PolicyLoop,
        take_policy: Callable[[], Policy],
        on_step: Callable[[Step], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        """Prepare; :meth:`start` starts.

        Args:
            loop: collects samples and decides about ticks.
            take_policy: the policy to use for the next step.
            on_step: called on this thread after every tick.
            on_failure: called on this thread when ``take_policy``, the policy or ``on_step``
                raised what is not a refusal; no step follows.
        """
        self._loop = loop
        self._take_policy = take_policy
        self._on_step = on_step
        self._on_failure = on_failure
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='inference', daemon=True)

    def start(self) -> None:
        """Begin to act."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Stop after the present step; ``False`` if it is still running after ``timeout_s``."""
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                step = self._loop.step(self._take_policy())
                if step is not None:
                    self._on_step(step)
                else:
                    self._loop.wait(_IDLE_S)
        except Exception as error:  # noqa: BLE001  the thread's boundary: it acts no more
            self._on_failure(error)
