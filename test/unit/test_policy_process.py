# SPDX-License-Identifier: Apache-2.0
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError, PolicyLost
from sqil_ros.policy import wire
from sqil_ros.policy.base import PolicyDescription
from sqil_ros.policy.loader import module_of
from sqil_ros.policy.nursery import Nursery
from sqil_ros.policy.own_process import PolicyProcess
from sqil_ros.policy.scripted import ImageMeanPolicy
from sqil_ros.types import ActionChunk, Observation

CONTRACT = Contract.load()
NUMBERS = st.lists(st.floats(-1e3, 1e3), min_size=7, max_size=7).map(np.array)


def observation(instruction='lift the eggplant', state=None, seed=0):
    rng = np.random.default_rng(seed)
    images = tuple(rng.integers(0, 256, (4 + i, 5, 3), np.uint8) for i in range(2))
    state = np.arange(7.0) if state is None else state
    return Observation(images, state, state + 1.0, instruction, 17)


@given(instruction=st.text(), state=NUMBERS, seed=st.integers(0, 99))
def test_an_observation_survives_the_wire(instruction, state, seed):
    sent = observation(instruction, state, seed)
    got = wire.observation_from_bytes(wire.observation_to_bytes(sent))
    assert (got.instruction, got.stamp_ns) == (instruction, 17)
    for one, other in zip(
        (*got.images, got.state, got.command),
        (*sent.images, sent.state, sent.command),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@given(row=st.lists(st.floats(), min_size=7, max_size=7))
def test_actions_survive_the_wire_bit_for_bit(row):
    got = wire.chunk_from_bytes(wire.chunk_to_bytes(ActionChunk(np.array([row]), {'decode': 1.5})))
    np.testing.assert_array_equal(got.actions, [row])
    assert got.spans == {'decode': 1.5}


@given(side=st.integers(1, 16), score=st.floats(allow_nan=False))
def test_a_look_survives_the_wire(side, score):
    got, cells = wire.look_from_bytes(wire.look_to_bytes(observation(), side))
    assert cells == side and got.stamp_ns == 17
    maps, picture = np.full((2, side, side), score), observation().images[1]
    saliency = wire.saliency_from_bytes(
        wire.saliency_to_bytes(wire.LiveSaliency(score, maps, picture))
    )
    assert saliency.score == score
    np.testing.assert_array_equal(saliency.maps, maps)
    np.testing.assert_array_equal(saliency.picture, picture)


def test_descriptions_and_requests_survive_the_wire():
    description = PolicyDescription('tiny', 'torch', 3, 12)
    assert wire.description_from_bytes(wire.description_to_bytes(description)) == description
    request = wire.LoadRequest('a', 'fp', CONTRACT.to_json(), 'cpu', 2, 'torch')
    assert wire.load_request_from_bytes(wire.load_request_to_bytes(request)) == request
    assert Contract.parse(request.contract, 'the wire') == CONTRACT


@pytest.fixture
def nursery():
    opened = Nursery()
    yield opened
    opened.close()


@pytest.fixture
def process(nursery):
    started = start(nursery)
    yield started
    started.close()


def start(nursery, checkpoint='builtin:image_mean'):
    return PolicyProcess(nursery, checkpoint, 'fp', CONTRACT, 'cpu', 1)


def wait_for_the_end(process):
    end_s = time.monotonic() + 5.0
    while process.alive and time.monotonic() < end_s:
        time.sleep(0.01)
    assert not process.alive


def test_a_policy_answers_the_same_from_its_own_process(process):
    seen = observation()
    process.reset()
    np.testing.assert_array_equal(process.act(seen).actions, ImageMeanPolicy().act(seen).actions)
    assert process.describe() == ImageMeanPolicy().describe()


def test_what_a_policy_raises_arrives_and_it_answers_on(process):
    with pytest.raises(RuntimeError, match='IndexError'):
        process.act(Observation((), np.zeros(7), np.zeros(7), 'lift'))
    assert process.act(observation()).actions.shape == (1, 7)


def test_a_killed_policy_is_named(process):
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(PolicyLost, match=r'ended|did not answer'):
        process.act(observation())


def test_what_cannot_be_loaded_is_refused_by_name_and_leaves_no_process(nursery, tmp_path):
    with pytest.raises(CheckpointError):
        start(nursery, str(tmp_path / 'none'))


def test_the_process_ends_when_its_node_is_gone(process):
    process._near.close()
    wait_for_the_end(process._process)


def test_two_policies_answer_side_by_side_and_end_one_by_one(nursery, process):
    other = start(nursery)
    assert other.pid != process.pid
    other.close()
    assert not other._process.alive
    assert process.act(observation()).actions.shape == (1, 7)


def test_a_policy_outlives_its_nursery_and_the_nursery_its_parent(nursery, process):
    os.kill(nursery._parent.pid, signal.SIGKILL)
    nursery._parent.wait()
    with pytest.raises(PolicyLost, match='forked from died'):
        start(nursery)
    start(nursery).close()  # from another parent
    assert process.act(observation()).actions.shape == (1, 7)


def test_a_parent_that_has_imported_torch_has_no_threads_to_lose():
    nursery = Nursery(module_of('models/any'))
    start(nursery).close()
    status = Path(f'/proc/{nursery._parent.pid}/status').read_text()
    maps = Path(f'/proc/{nursery._parent.pid}/maps').read_text()
    nursery.close()
    assert 'libtorch' in maps and 'Threads:\t1\n' in status


def test_a_process_leads_a_session_so_that_precedence_counts(process):
    assert os.getsid(process.pid) == process.pid
