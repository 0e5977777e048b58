# SPDX-License-Identifier: Apache-2.0
"""What the bench concludes; the graph it measures is started by its own command."""

import copy

import pytest

pytestmark = pytest.mark.ros
MS = 1_000_000


@pytest.fixture
def log():
    pytest.importorskip('rclpy')
    from sqil_ros.nodes.steady_state_bench import ActionLog

    return ActionLog()


def receive(log, stamps_ms, latency_ms=40):
    from sqil_ros.msg import EndEffectorAction

    from sqil_ros.nodes.policy_messages import time_message

    for stamp_ms in stamps_ms:
        stamp_ns = stamp_ms * MS
        message = EndEffectorAction(observation_stamp=time_message(stamp_ns), profile='fp')
        log.receive(message, stamp_ns + latency_ms * MS)


def test_even_stamps_miss_nothing(log):
    receive(log, range(1000, 3000, 200))
    report = log.report(0, 10, 5.0)
    assert (report['ticks'], report['missed_ticks']) == (10, 0)
    assert report['latency_ms'] == {'p50': 40.0, 'p95': 40.0, 'p99': 40.0, 'max': 40.0}


def test_a_gap_is_counted_only_inside_the_window(log):
    receive(log, [0, 200, 1000, 1200, 1400])
    assert log.report(0, 5, 5.0)['missed_ticks'] == 3
    assert log.report(2, 5, 5.0)['missed_ticks'] == 0


@pytest.mark.parametrize(
    'break_it',
    [
        lambda r: r['steady_state'].update(missed_ticks=1),
        lambda r: r['steady_state']['latency_ms'].update(p99=150.1),
        lambda r: r['swaps'].update(missed_ticks=1),
        lambda r: r['swaps'].update(peak_tcp_speed=0.26),
        lambda r: r.update(missed_ticks_counted_by_the_node=1),
    ],
)
def test_every_bar_counts(log, break_it):
    from sqil_ros.nodes.steady_state_bench import passed

    result = {
        'steady_state': {'missed_ticks': 0, 'latency_ms': {'p99': 150.0}},
        'swaps': {'missed_ticks': 0, 'peak_tcp_speed': 0.25, 'limit_tcp_speed': 0.25},
        'missed_ticks_counted_by_the_node': 0,
    }
    assert passed(result)
    broken = copy.deepcopy(result)
    break_it(broken)
    assert not passed(broken)
