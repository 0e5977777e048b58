# SPDX-License-Identifier: Apache-2.0
import os
import signal
import threading
import time

import pytest

from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError, ParameterError, PolicyLost, ProfileError
from sqil_ros.policy.scripted import CirclePolicy
from sqil_ros.policy_loop import Step
from sqil_ros.policy_session import TOTAL, PolicyParams, PolicySession

CONTRACT = Contract.load()


def open_session(on_swap=lambda status: None, **changes):
    params = PolicyParams(CONTRACT, **({'checkpoint': 'builtin:image_mean'} | changes))
    return PolicySession(params, lambda: 0, on_swap)


@pytest.fixture
def session():
    opened = open_session()
    yield opened
    opened.close()


def test_a_session_has_proven_itself(session):
    assert session.self_test.image_effect > 0.0
    assert session.swap.active == 'fp'
    assert session.take_policy().profile == 'fp'


def test_profile_changes_only_when_the_policy_is_taken():
    seen, ready = [], threading.Event()

    def on_swap(status):
        seen.append(status.state)
        if status.state == 'ready':
            ready.set()

    session = open_session(on_swap)
    try:
        before = session.take_policy()
        session.request_profile('int4_rtn')
        assert ready.wait(10.0)
        assert session.swap.active == 'fp'
        assert before.profile == 'fp'
        assert session.take_policy().profile == 'int4_rtn'
        assert session.swap.active == 'int4_rtn'
    finally:
        session.close()
    assert seen == ['loading', 'ready', 'active']


def test_a_killed_policy_is_noticed_without_being_asked_to_act(session):
    os.kill(session.take_policy().pid, signal.SIGKILL)
    with pytest.raises(PolicyLost, match='ended'):
        for _ in range(100):
            session.take_policy()
            time.sleep(0.01)


def test_a_policy_without_logits_has_no_saliency_and_says_so(session):
    with pytest.raises(ParameterError, match=r'saliency\.period_s'):
        session.open_copy('fp')


def test_bad_name_is_refused_and_the_old_profile_stays(session):
    with pytest.raises(ProfileError, match="'int4'"):
        session.request_profile('int4')
    assert session.take_policy().profile == 'fp'


def test_profile_that_fails_its_self_test_does_not_take_over(session, monkeypatch):
    class Blind(CirclePolicy):
        def close(self):
            ended.append(self.profile)

    ended = []
    monkeypatch.setattr('sqil_ros.policy_session.PolicyProcess', lambda *_: Blind('int4_x'))
    session.request_profile('int4_x')
    status = session._slot.wait(10.0)
    assert status.state == 'failed'
    assert 'ignores its cameras' in status.message
    assert ended == ['int4_x']
    assert session.take_policy().profile == 'fp'


def test_latency_is_of_the_profile_that_acts(session):
    step = Step(0, 'fp', None, '', {'policy': 3.0})
    session.record(step, 40.0)
    assert session.latency()[TOTAL].last == 40.0
    session.request_profile('int4_rtn')
    session._slot.wait(10.0)
    session.take_policy()
    assert session.latency() == {}


def test_unfit_policies_open_no_session():
    with pytest.raises(ParameterError, match='checkpoint'):
        open_session(checkpoint='')
    with pytest.raises(CheckpointError, match='ignores its cameras'):
        open_session(checkpoint='builtin:circle')
    with pytest.raises(ProfileError):
        open_session(profile='nonsense')
    with pytest.raises(ParameterError, match='threads'):
        open_session(threads=0)
