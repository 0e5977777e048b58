# SPDX-License-Identifier: Apache-2.0
"""A policy that is exchanged between two control ticks, or not at all.

The tick calls :meth:`ProfileSlot.take`, which never waits for more than a reference. A request is
validated at once on the caller's thread, then loaded and warmed up on a worker thread; only what
came through whole becomes current. Whatever fails, the old policy stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Generic, TypeVar

from sqil_ros.errors import SqilError

T = TypeVar('T')
_LOG = logging.getLogger(__name__)

ACTIVE, LOADING, READY, FAILED = 'active', 'loading', 'ready', 'failed'


@dataclass(frozen=True)
class SwapStatus:
    """What a slot is doing.

    Attributes:
        state: ``active`` (at rest), ``loading``, ``ready`` (waits for the next tick) or
            ``failed`` (the last request was not honoured; ``active`` still acts).
        active: profile that acts.
        requested: profile asked for last; equals ``active`` once it acts.
        message: why the last request failed or was refused, else how the swap went.
        sequence: grows with every change.
    """

    state: str
    active: str
    requested: str
    message: str = ''
    sequence: int = 0


class ProfileSlot(Generic[T]):
    """Holds the policy that acts and prepares its successor. Every method is thread-safe."""

    def __init__(
        self,
        name: str,
        policy: T,
        *,
        validate: Callable[[str], None],
        load: Callable[[str, Callable[[], bool]], T],
        on_change: Callable[[SwapStatus], None] | None = None,
    ) -> None:
        """Start with a policy that is already loaded.

        Args:
            name: profile of ``policy``.
            policy: what acts now.
            validate: quick check of a name; raises ``ProfileError`` to refuse it.
            load: called on the worker thread with a name and a question ("is this obsolete?");
                returns a policy that is loaded *and* warmed up, raises if anything is wrong. An
                obsolete load may end early in any way; nobody listens.
            on_change: called with every new status, in order, on a thread of its own.
        """
        self._policy = policy
        self._validate = validate
        self._load = load
        self._lock = threading.Lock()
        self._order = threading.Lock()  # requests are validated in the order of their calls
        self._changed = threading.Condition(self._lock)
        self._status = SwapStatus(ACTIVE, name, name)
        self._ticket = 0  # of the newest request; older work is obsolete
        self._wanted: str | None = None
        self._ready: tuple[str, T, float] | None = None
        self._closed = False
        self._news: SimpleQueue[SwapStatus | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name='profile-loader', daemon=True)]
        if on_change is not None:
            self._threads.append(
                threading.Thread(
                    target=self._announce, args=(on_change,), name='profile-status', daemon=True
                )
            )
        for thread in self._threads:
            thread.start()

    @property
    def status(self) -> SwapStatus:
        """The present status."""
        with self._lock:
            return self._status

    def take(self) -> T:
        """The policy for this tick; a successor that is ready becomes current here."""
        with self._lock:
            if self._ready is not None:
                name, self._policy, seconds = self._ready
                self._ready = None
                self._set(ACTIVE, name, f'swapped to {name}, prepared in {seconds:.2f} s')
            return self._policy

    def request(self, name: str) -> None:
        """Ask for a profile; returns once the name is found valid, before it is loaded.

        The newest request wins; asking for the profile that acts calls off a swap under way.

        Raises:
            ProfileError: the profile is refused; whatever was going on goes on.
        """
        with self._order:
            try:
                self._validate(name)
            except SqilError as error:
                with self._lock:
                    self._set(self._status.state, message=f'{name} refused: {error}')
                raise
            with self._lock:
                pending = self._status.state in (LOADING, READY)
                if self._closed or (pending and name == self._status.requested):
                    return
                self._ticket += 1
                self._ready = None
                active = self._status.active
                self._wanted = None if name == active else name
                self._status = replace(self._status, requested=name)
                self._set(ACTIVE if name == active else LOADING)
                self._changed.notify_all()

    def wait(self, timeout_s: float) -> SwapStatus:
        """Block until nothing is loading (never on the tick's thread); the status then."""
        with self._lock:
            self._changed.wait_for(lambda: self._status.state != LOADING, timeout_s)
            return self._status

    def close(self, timeout_s: float = 5.0) -> None:
        """Call off what is loading and end the threads; the policy that acts stays usable."""
        with self._lock:
            self._closed = True
            self._ticket += 1
            self._wanted = None
            self._changed.notify_all()
        self._news.put(None)
        for thread in self._threads:
            thread.join(timeout_s)

    def _set(self, state: str, active: str | None = None, message: str = '') -> None:
        """Change and announce the status; the lock is held."""
        self._status = replace(
            self._status,
            state=state,
            active=active or self._status.active,
            message=message,
            sequence=self._status.sequence + 1,
        )
        self._news.put(self._status)
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._changed.wait_for(lambda: self._closed or self._wanted is not None)
                if self._closed:
                    return
                name, ticket = self._wanted, self._ticket
                assert name is not None
                self._wanted = None
            self._prepare(name, ticket)

    def _prepare(self, name: str, ticket: int) -> None:
        started = time.monotonic()
        try:
            policy = self._load(name, lambda: self._ticket != ticket)
        except Exception as error:  # noqa: BLE001 - a foreign loader: any failure rolls back
            self._roll_back(name, ticket, error)
            return
        with self._lock:
            if self._ticket == ticket:
                self._ready = (name, policy, time.monotonic() - started)
                self._set(READY)

    def _roll_back(self, name: str, ticket: int, error: Exception) -> None:
        with self._lock:
            if self._ticket != ticket:
                return
            reason = str(error) if isinstance(error, SqilError) else repr(error)
            self._set(FAILED, message=f'{name} failed, {self._status.active} stays: {reason}')
        _LOG.warning('profile %s was not loaded', name, exc_info=error)

    def _announce(self, on_change: Callable[[SwapStatus], None]) -> None:
        while (status := self._news.get()) is not None:
            try:
                on_change(status)
            except Exception:  # noqa: BLE001 - a foreign callback must not end the announcements
                _LOG.exception('a listener failed on profile status %s', status)
