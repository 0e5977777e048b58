# SPDX-License-Identifier: Apache-2.0
"""Messages survive the wire bit for bit, and nothing else passes for one."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqil_ros.contract import Contract
from sqil_ros.robot.channel import Channel, channel_pair
from sqil_ros.robot.protocol import (
    Arm,
    Configure,
    Disarm,
    Heartbeat,
    Latch,
    ProtocolError,
    Quit,
    Reply,
    RobotState,
    Target,
    decode,
    encode,
    pose_from_vector7,
    pose_to_vector,
)
from sqil_ros.robot.settings import WorkerSettings
from sqil_ros.safety import Box, SafetyLimits
from sqil_ros.trajectory import MotionLimits

finite = st.floats(allow_nan=False, allow_infinity=True)
integers = st.integers(0, 2**62)


def vectors(length: int) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(*[finite] * length)


messages = st.one_of(
    st.builds(Configure, st.text()),
    st.builds(Heartbeat, st.booleans(), st.booleans()),
    st.builds(Arm, integers, st.booleans()),
    st.builds(Disarm, integers),
    st.builds(Target, integers, finite, vectors(7), finite),
    st.builds(Latch, st.text(), st.text()),
    st.builds(Quit),
    st.builds(Reply, integers, st.booleans(), st.text()),
)


@settings(deadline=None)
@given(messages)
def test_every_message_survives_the_wire(message: object) -> None:
    assert decode(encode(message)) == message  # type: ignore[arg-type]


def test_a_state_survives_the_wire_even_with_numbers_that_are_none() -> None:
    six = tuple(float(i) for i in range(6))
    state = RobotState(
        1.5, 2, 3, six, six, (*six, 1.0), (*six, 1.0), six, six, math.nan, 1.0, 7, 1, 2, (0, 1), 4
    )
    back = decode(encode(state))
    assert isinstance(back, RobotState) and math.isnan(back.gripper)
    assert dataclasses.replace(back, gripper=0.0) == dataclasses.replace(state, gripper=0.0)


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'nonsense',
        b'{}',
        b'["Unknown"]',
        b'["Arm", 1]',
        b'["Arm", 1, 1]',
        b'["Arm", true, true]',
        b'["Target", 1, "soon", [], 1.0]',
        b'["Heartbeat", true, true, true]',
        json.dumps(['Target', 1, 0.0, [1.0, 'x'], 1.0]).encode(),
    ],
)
def test_what_is_not_a_message_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match='same installation'):
        decode(data)


def test_poses_travel_as_seven_numbers() -> None:
    vector = (0.1, -0.2, 0.3, 0.0, 0.6, 0.0, 0.8)
    assert pose_to_vector(pose_from_vector7(vector)) == vector


def test_a_channel_keeps_order_and_notices_the_end() -> None:
    ours, theirs = channel_pair()
    other = Channel(theirs)
    sent = [Arm(number, False) for number in range(5000)]
    for message in sent:
        ours.send(message)
    received = []
    while len(received) < len(sent):
        received += other.receive()
        ours.flush()
    assert received == sent
    ours.close()
    assert other.receive() == []
    assert other.closed
    other.send(Quit())  # to nobody: not an error
    other.close()


def test_last_words_arrive_even_from_one_who_died_with_mail_unread() -> None:
    ours, theirs = channel_pair()
    other = Channel(theirs)
    ours.send(Quit())
    other.send(Latch('link_lost', 'gone'))
    other.close()
    ours.send(Quit())
    assert ours.receive() == [Latch('link_lost', 'gone')]
    assert ours.closed
    ours.close()


def test_an_offer_to_a_slow_reader_is_lost_but_a_message_is_not() -> None:
    ours, theirs = channel_pair()
    other = Channel(theirs)
    for number in range(20000):
        ours.offer(Arm(number, False))
    ours.send(Disarm(1))
    received = []
    while not received or not isinstance(received[-1], Disarm):
        ours.flush()
        received += other.receive()
    assert 0 < len(received) < 20000
    ours.close()
    other.close()


def test_settings_survive_json() -> None:
    limits = SafetyLimits.for_contract(
        Contract.load(),
        workspace=Box((0.1, -0.5, 0.0), (0.7, 0.5, 0.5)),
        keep_out=(Box((0.0, 0.0, 0.0), (0.1, 0.1, 0.1)),),
        motion=MotionLimits(linear_speed=0.2),
    )
    settings = WorkerSettings('127.0.0.2', limits, (0.0,) * 6, (0.0,) * 6, recover=True)
    back = WorkerSettings.from_json(settings.to_json())
    assert np.array_equal(back.limits.tcp.position, limits.tcp.position)
    assert np.array_equal(back.limits.tcp.quaternion, limits.tcp.quaternion)
    assert dataclasses.replace(back.limits, tcp=limits.tcp) == limits
    assert dataclasses.replace(back, limits=limits) == settings
