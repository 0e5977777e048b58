# SPDX-License-Identifier: Apache-2.0
"""A policy is exchanged between two ticks, or not at all; the tick never waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sqil_ros.errors import ProfileError
from sqil_ros.quant.swap import ACTIVE, FAILED, LOADING, READY, ProfileSlot, SwapStatus

KNOWN = ('fp', 'int8_rtn', 'int4_rtn', 'broken')
PATIENCE_S = 20.0


class Loader:
    """Loads a name into ``policy of <name>``, but only when the test opens its gate."""

    def __init__(self) -> None:
        self.gates = {name: threading.Event() for name in KNOWN}
        self.entered = {name: threading.Event() for name in KNOWN}
        self.obsolete: dict[str, Callable[[], bool]] = {}
        self.loads: list[str] = []

    def validate(self, name: str) -> None:
        if name not in KNOWN:
            raise ProfileError(f'no profile {name!r}; choose one of {KNOWN}')

    def load(self, name: str, obsolete: Callable[[], bool]) -> str:
        self.loads.append(name)
        self.obsolete[name] = obsolete
        self.entered[name].set()
        assert self.gates[name].wait(PATIENCE_S)
        if name == 'broken':
            raise RuntimeError('warm-up gave NaN')
        return f'policy of {name}'


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def statuses() -> list[SwapStatus]:
    return []


@pytest.fixture
def slot(loader: Loader, statuses: list[SwapStatus]) -> Iterator[ProfileSlot[str]]:
    slot = ProfileSlot(
        'fp', 'policy of fp', validate=loader.validate, load=loader.load, on_change=statuses.append
    )
    yield slot
    for gate in loader.gates.values():
        gate.set()
    slot.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_the_tick_never_waits_for_a_load(slot: ProfileSlot[str], loader: Loader) -> None:
    slot.request('int4_rtn')
    assert loader.entered['int4_rtn'].wait(PATIENCE_S)
    # The loader stands still at its gate, so a take that waited for it would never return.
    assert [slot.take() for _ in range(100)] == ['policy of fp'] * 100
    assert slot.status.state == LOADING
    assert slot.status.active == 'fp'
    assert slot.status.requested == 'int4_rtn'


def test_a_swap_happens_at_a_tick(slot: ProfileSlot[str], loader: Loader) -> None:
    loader.gates['int4_rtn'].set()
    slot.request('int4_rtn')
    assert slot.wait(PATIENCE_S).state == READY
    assert slot.status.active == 'fp'
    assert slot.take() == 'policy of int4_rtn'
    assert slot.status.state == ACTIVE
    assert slot.status.active == slot.status.requested == 'int4_rtn'
    assert 'int4_rtn' in slot.status.message


def test_an_unknown_name_is_refused_at_once(slot: ProfileSlot[str], loader: Loader) -> None:
    with pytest.raises(ProfileError, match='choose one of'):
        slot.request('int4_magic')
    assert slot.take() == 'policy of fp'
    assert slot.status.state == ACTIVE
    assert 'int4_magic refused' in slot.status.message
    assert loader.loads == []


def test_a_refusal_leaves_a_running_load_alone(slot: ProfileSlot[str], loader: Loader) -> None:
    slot.request('int8_rtn')
    with pytest.raises(ProfileError):
        slot.request('int4_magic')
    assert slot.status.state == LOADING
    loader.gates['int8_rtn'].set()
    assert slot.wait(PATIENCE_S).state == READY
    assert slot.take() == 'policy of int8_rtn'


def test_a_failed_warm_up_keeps_the_old_policy(slot: ProfileSlot[str], loader: Loader) -> None:
    loader.gates['broken'].set()
    slot.request('broken')
    status = slot.wait(PATIENCE_S)
    assert status.state == FAILED
    assert status.active == 'fp'
    assert 'warm-up gave NaN' in status.message
    assert 'fp stays' in status.message
    assert slot.take() == 'policy of fp'

    loader.gates['int8_rtn'].set()
    slot.request('int8_rtn')
    assert slot.wait(PATIENCE_S).state == READY
    assert slot.take() == 'policy of int8_rtn'


def test_a_failed_profile_may_be_asked_for_again(slot: ProfileSlot[str], loader: Loader) -> None:
    loader.gates['broken'].set()
    slot.request('broken')
    assert slot.wait(PATIENCE_S).state == FAILED
    slot.request('broken')
    assert slot.wait(PATIENCE_S).state == FAILED
    assert loader.loads == ['broken', 'broken']


@pytest.mark.parametrize('first', ['int8_rtn', 'broken'])
def test_the_latest_request_wins(slot: ProfileSlot[str], loader: Loader, first: str) -> None:
    slot.request(first)
    assert loader.entered[first].wait(PATIENCE_S)
    slot.request('int4_rtn')
    assert loader.obsolete[first]()
    loader.gates['int4_rtn'].set()
    loader.gates[first].set()  # the obsolete load ends, well or badly, and counts for nothing
    assert slot.wait(PATIENCE_S).state == READY
    assert slot.take() == 'policy of int4_rtn'
    assert slot.status.active == 'int4_rtn'


def test_a_ready_but_superseded_policy_never_acts(slot: ProfileSlot[str], loader: Loader) -> None:
    loader.gates['int8_rtn'].set()
    slot.request('int8_rtn')
    assert slot.wait(PATIENCE_S).state == READY
    slot.request('int4_rtn')
    assert slot.take() == 'policy of fp'
    loader.gates['int4_rtn'].set()
    until(lambda: slot.take() == 'policy of int4_rtn')


def test_asking_for_the_active_profile_calls_a_swap_off(
    slot: ProfileSlot[str], loader: Loader
) -> None:
    slot.request('int8_rtn')
    assert loader.entered['int8_rtn'].wait(PATIENCE_S)
    slot.request('fp')
    assert slot.status.state == ACTIVE
    loader.gates['int8_rtn'].set()
    loader.gates['int4_rtn'].set()
    slot.request('int4_rtn')  # served after the obsolete load has ended
    assert slot.wait(PATIENCE_S).state == READY
    assert slot.take() == 'policy of int4_rtn'


def test_asking_twice_loads_once(slot: ProfileSlot[str], loader: Loader) -> None:
    slot.request('int8_rtn')
    slot.request('int8_rtn')
    loader.gates['int8_rtn'].set()
    assert slot.wait(PATIENCE_S).state == READY
    slot.take()
    slot.request('int8_rtn')
    assert loader.loads == ['int8_rtn']


def test_every_change_is_announced_in_order(
    slot: ProfileSlot[str], loader: Loader, statuses: list[SwapStatus]
) -> None:
    loader.gates['int8_rtn'].set()
    slot.request('int8_rtn')
    assert slot.wait(PATIENCE_S).state == READY
    slot.take()
    until(lambda: len(statuses) == 3)
    assert [status.state for status in statuses] == [LOADING, READY, ACTIVE]
    assert [status.sequence for status in statuses] == [1, 2, 3]
    assert statuses[-1] == slot.status


def test_a_failing_listener_does_not_stop_the_swap(loader: Loader) -> None:
    def listener(status: SwapStatus) -> None:
        raise RuntimeError('no publisher')

    slot = ProfileSlot('fp', 'old', validate=loader.validate, load=loader.load, on_change=listener)
    loader.gates['int8_rtn'].set()
    slot.request('int8_rtn')
    until(lambda: slot.take() == 'policy of int8_rtn')
    slot.close()


def test_many_threads_agree_on_the_last_request(slot: ProfileSlot[str], loader: Loader) -> None:
    for gate in loader.gates.values():
        gate.set()
    seen: list[str] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            seen.append(slot.take())
            time.sleep(0.0005)

    ticker = threading.Thread(target=tick)
    ticker.start()
    requesters = [
        threading.Thread(target=lambda: [slot.request(name) for name in KNOWN[:3] * 10])
        for _ in range(4)
    ]
    for thread in requesters:
        thread.start()
    for thread in requesters:
        thread.join(PATIENCE_S)
    slot.request('int4_rtn')
    until(lambda: slot.status.active == 'int4_rtn' and slot.status.state == ACTIVE)
    stop.set()
    ticker.join(PATIENCE_S)
    assert set(seen) <= {f'policy of {name}' for name in KNOWN[:3]}


def test_close_ends_the_threads(loader: Loader) -> None:
    slot = ProfileSlot('fp', 'old', validate=loader.validate, load=loader.load)
    slot.request('int8_rtn')
    assert loader.entered['int8_rtn'].wait(PATIENCE_S)
    loader.gates['int8_rtn'].set()
    slot.close(PATIENCE_S)
    assert slot.take() == 'old'
    assert not [t for t in threading.enumerate() if t.name == 'profile-loader']
