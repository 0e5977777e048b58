# SPDX-License-Identifier: Apache-2.0
"""Who looks at the policy never makes it wait."""

import threading
import time

import numpy as np
import pytest

from sqil_ros.errors import PolicyLost
from sqil_ros.policy.wire import LiveSaliency
from sqil_ros.policy_loop import Step
from sqil_ros.saliency_thread import SaliencyThread
from sqil_ros.types import Observation

SEEN = LiveSaliency(1.0, np.ones((2, 4, 4)), np.zeros((2, 2, 3), np.uint8))


class Copy:
    """A copy of the policy that thinks for as long as it is told."""

    def __init__(self, profile):
        self.profile, self.closed = profile, False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked, self.error = [], None

    def look(self, observation, side):
        self.asked.append(observation.stamp_ns)
        assert self.may_answer.wait(5.0)
        if self.error is not None:
            raise self.error
        return SEEN

    def interrupt(self):
        self.error = PolicyLost('ended')
        self.may_answer.set()

    def close(self):
        self.closed = True


class Rig:
    """A thread with an audience that can leave."""

    def __init__(self, period_s):
        self.copies, self.seen, self.losses = [], [], []
        self.audience = True
        self.thread = SaliencyThread(
            self.open, 4, period_s, lambda: self.audience,
            lambda step, saliency: self.seen.append(step.stamp_ns), self.losses.append,
        )  # fmt: skip
        self.thread.start()

    def open(self, profile):
        self.copies.append(Copy(profile))
        return self.copies[-1]

    def offer(self, stamp_ns, profile='fp'):
        observation = Observation((), np.zeros(7), np.zeros(7), 'lift', stamp_ns)
        self.thread.offer(Step(stamp_ns, profile, np.zeros((1, 7)), '', {}, observation))

    def until(self, condition):
        end_s = time.monotonic() + 5.0
        while not condition():
            assert time.monotonic() < end_s
            time.sleep(0.002)


@pytest.fixture
def rig():
    made = Rig(period_s=0.0)
    yield made
    made.thread.stop()


def test_what_comes_while_it_thinks_is_dropped_but_for_the_newest(rig):
    rig.offer(1)
    rig.until(lambda: rig.seen == [1])
    (copy,) = rig.copies
    copy.may_answer.clear()
    for stamp_ns in range(2, 9):
        rig.offer(stamp_ns)
        rig.until(lambda: len(copy.asked) == 2)
    copy.may_answer.set()
    rig.until(lambda: len(rig.seen) == 3)
    assert rig.seen == [1, 2, 8]


def test_nothing_is_opened_or_asked_without_an_audience(rig):
    rig.audience = False
    rig.offer(1)
    time.sleep(0.05)
    assert not rig.copies
    rig.audience = True
    rig.offer(2)
    rig.until(lambda: rig.seen == [2])


def test_it_waits_for_its_period_and_then_takes_the_newest():
    rig = Rig(period_s=0.2)
    rig.offer(1)
    rig.until(lambda: rig.seen == [1])
    since_s = time.monotonic()
    for stamp_ns in (2, 3):
        rig.offer(stamp_ns)
    rig.until(lambda: len(rig.seen) == 2)
    assert rig.seen == [1, 3] and time.monotonic() - since_s > 0.1
    rig.thread.stop()


def test_the_copy_is_of_the_profile_that_acts(rig):
    rig.offer(1)
    rig.until(lambda: rig.seen == [1])
    rig.offer(2, 'int4_rtn')
    rig.until(lambda: rig.seen == [1, 2])
    assert [(copy.profile, copy.closed) for copy in rig.copies] == [
        ('fp', True),
        ('int4_rtn', False),
    ]


def test_a_lost_copy_is_said_once_and_offers_go_on(rig):
    rig.offer(1)
    rig.until(lambda: rig.seen == [1])
    rig.copies[0].error = PolicyLost('ended')
    rig.offer(2)
    rig.until(lambda: rig.losses)
    for stamp_ns in range(3, 6):
        rig.offer(stamp_ns)
    time.sleep(0.05)
    assert [str(error) for error in rig.losses] == ['ended']
    assert rig.copies[0].closed and len(rig.copies) == 1


def test_stopping_ends_the_copy_at_once_and_that_is_nobodys_loss(rig):
    rig.offer(1)
    rig.until(lambda: rig.seen == [1])
    (copy,) = rig.copies
    copy.may_answer.clear()
    rig.offer(2)
    rig.until(lambda: len(copy.asked) == 2)
    rig.thread.stop(5.0)
    assert copy.closed and not rig.losses and rig.seen == [1]
