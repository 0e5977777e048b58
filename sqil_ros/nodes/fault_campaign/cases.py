# SPDX-License-Identifier: Apache-2.0
"""The faults of the campaign, how each comes about, and what must follow."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqil_ros.errors import RobotUnreachable
from sqil_ros.nodes.fault_campaign.rig import Rig
from sqil_ros.nodes.fault_campaign.watch import MOVED_RAD
from sqil_ros.robot.dashboard import Dashboard
from sqil_ros.robot.probe import probe

_WATCHED_S = 2.0
_FAULT_PATIENCE_S = 8.0
# Nothing but reach and kinematics to stop at: the box, the cone and the slowing come first.
_WIDE = {
    'workspace.low': '[-2.0, -2.0, -2.0]',
    'workspace.high': '[2.0, 2.0, 2.0]',
    'limits.reach_max_m': 1.1,
    'limits.condition_slow': 199.0,
    'limits.condition_stop': 400.0,
    'limits.bend_min_rad': 0.0,
    'limits.joint_speed': 3.0,
    'limits.joint_acceleration': 20.0,
}


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        name: as in the table of results.
        expected: names of faults that may be latched; the link's loss is seen by two watchers.
        begin: brings the fault about.
        undo: takes its cause away, as a repair would; the arm must stay where it is.
        bar_s: time to rest that the project promises, or None.
        parameters: of the robot node, where the defaults would prevent the fault.
    """

    name: str
    expected: tuple[str, ...]
    begin: Callable[[Rig], None]
    undo: Callable[[Rig], None]
    bar_s: float | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of one run of a case.

    Attributes:
        rest_ms: from the fault's beginning to rest; None if the arm never rested.
        fault: name that was latched.
        moved_again: whether the arm moved after resting and before the reset.
        refused: whether arming was refused before the reset.
        recovered: whether the arm worked again after the reset.
        top_speed: highest TCP speed [m/s] from the beginning of the run on.
    """

    rest_ms: float | None
    fault: str
    moved_again: bool
    refused: bool
    recovered: bool
    top_speed: float

    def passes(self, case: Case, bar_s: float | None) -> bool:
        """Whether the run is what the project promises."""
        in_time = self.rest_ms is not None and (bar_s is None or self.rest_ms <= 1e3 * bar_s)
        named = self.fault in case.expected
        return in_time and named and self.refused and self.recovered and not self.moved_again


def _misbehave(behaviour: str) -> Callable[[Rig], None]:
    return lambda rig: rig.behave(behaviour)


def _inject(kind: str, **values: float) -> Callable[[Rig], None]:
    return lambda rig: rig.inject(kind, **values)


def _kill(name: str) -> Callable[[Rig], None]:
    return lambda rig: rig.signal(name, signal.SIGKILL)


def _hang(name: str) -> Callable[[Rig], None]:
    return lambda rig: rig.signal(name, signal.SIGSTOP)


def _wake(name: str) -> Callable[[Rig], None]:
    return lambda rig: rig.signal(name, signal.SIGCONT)


def _hang_for(name: str, seconds: float) -> Callable[[Rig], None]:
    def begin(rig: Rig) -> None:
        rig.signal(name, signal.SIGSTOP)
        time.sleep(seconds)
        rig.signal(name, signal.SIGCONT)

    return begin


def _behave_again(rig: Rig) -> None:
    rig.behave('sweep')


def _nothing(rig: Rig) -> None:
    """The cause has gone by itself."""


def _power_on(rig: Rig) -> None:
    """What a hand at the pendant does after an emergency stop."""
    rig.inject('release')
    with Dashboard(rig.host) as dashboard:
        dashboard.ask('power on')
        dashboard.ask('brake release')


def _wait_for_link(rig: Rig) -> None:
    end_s = time.monotonic() + 10.0
    while time.monotonic() < end_s:
        try:
            probe(rig.host, 0.5)
        except RobotUnreachable:
            time.sleep(0.2)
        else:
            return


def _play_wrongly(rig: Rig) -> None:
    """Unlock and press play, as an unwary operator does: it must not resume the old target."""
    with Dashboard(rig.host) as dashboard:
        dashboard.unlock_protective_stop()
        dashboard.ask('play')


CASES = (
    Case('nan_action', ('malformed_action',), _misbehave('nan'), _behave_again),
    Case('stale_image', ('stale_observation',), _misbehave('stale'), _behave_again),
    Case('jump', ('jump',), _misbehave('jump'), _behave_again),
    Case(
        'unreachable_pose',
        ('unreachable_pose',),
        _misbehave('outward'),
        _behave_again,
        parameters=_WIDE,
    ),
    Case('protective_stop', ('protective_stop',), _inject('protective_stop'), _play_wrongly),
    Case('emergency_stop', ('emergency_stop',), _inject('emergency_stop'), _power_on),
    Case('link_drop', ('link_lost', 'worker_lost'), _inject('drop', seconds=1.0), _wait_for_link),
    Case(
        'frozen_controller',
        ('controller_frozen',),
        _inject('freeze'),
        _inject('unfreeze'),
        # The limit of a real robot; the node is more patient with a simulated one.
        parameters={'limits.controller_age_s': 0.1},
    ),
    Case('killed_policy', ('policy_lost',), _kill('policy'), lambda rig: rig.start_policy(), 0.3),
    Case('killed_node', ('node_lost',), _kill('node'), lambda rig: rig.start_node(), 0.3),
    Case('killed_worker', ('worker_lost',), _kill('worker'), _nothing, 0.3),
    Case('hung_policy', ('policy_lost',), _hang('policy'), _wake('policy')),
    Case('hung_node', ('node_lost',), _hang_for('node', 2.0), _nothing),
    Case('hung_worker', ('worker_silent',), _hang('worker'), _nothing),
)


def run_case(rig: Rig, case: Case, delay_s: float) -> Outcome:
    """Get the arm moving, bring the fault about, watch, repair, watch, reset, work again.

    Args:
        rig: healthy and disarmed; it is left so.
        case: the fault.
        delay_s: how long after the arm has got moving the fault comes, to vary the phase.
    """
    began_s = time.monotonic()
    rig.get_moving()
    time.sleep(delay_s)
    start_s = time.monotonic()
    case.begin(rig)
    fault = (
        rig.wait_for_fault(_FAULT_PATIENCE_S) if case.name != 'killed_node' else _last_words(rig)
    )
    rest = rig.wait_for_rest(start_s)
    rest_s = time.monotonic()
    case.undo(rig)
    # A node that was started again is reset by that; it must rest disarmed all the same.
    refused = case.name == 'killed_node' or rig.refuses_to_arm()
    time.sleep(_WATCHED_S)
    moved = rig.watch.moved_since(rest_s) > MOVED_RAD
    top_speed = rig.watch.fastest(began_s)
    rig.operator.order('reset_fault')
    rig.get_moving()
    recovered = not rig.fault
    rig.operator.order('stop')
    return Outcome(
        None if rest is None else round(1e3 * rest, 1),
        fault,
        moved,
        refused,
        recovered,
        round(top_speed, 3),
    )


def _last_words(rig: Rig) -> str:
    """A killed node cannot report; its worker says why it stopped the arm."""
    end_s = time.monotonic() + _FAULT_PATIENCE_S
    while time.monotonic() < end_s:
        if 'robot worker: node_lost' in rig.log():
            return 'node_lost'
        time.sleep(0.02)
    return ''
