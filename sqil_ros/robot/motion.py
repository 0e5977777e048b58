# SPDX-License-Identifier: Apache-2.0
"""What the worker does in each cycle: one state machine over an arm, a trajectory and checks.

It moves the arm only while ARMED (targets) or HOMING. A fault ends the control program, so that
only a new worker, started by an explicit reset, can move the arm again.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable

import numpy as np

from sqil_ros.errors import RobotFault, SqilError
from sqil_ros.robot.driver import ArmDriver, Sample
from sqil_ros.robot.follower import Follower
from sqil_ros.robot.homing import Homing
from sqil_ros.robot.protocol import (
    Arm,
    Busy,
    Disarm,
    Faulted,
    Heartbeat,
    Home,
    Latch,
    Message,
    Mode,
    Reply,
    RobotState,
    Target,
    pose_to_vector,
)
from sqil_ros.robot.robotiq import Gripper, NoGripper
from sqil_ros.robot.settings import WorkerSettings
from sqil_ros.robot.upstream import Upstream
from sqil_ros.safety import (
    Check,
    CycleMemory,
    CycleState,
    Fault,
    Verdict,
    check_cycle,
    workspace_complaint,
)
from sqil_ros.safety.controller import PROGRAM_PLAYING, controller_stop
from sqil_ros.types import Pose

LINK_FAULTS = frozenset({Fault.LINK_LOST, Fault.CONTROLLER_FROZEN})
"""After these ur_rtde cannot be used any more; the watchdog ends the program."""

_FOLLOWING = frozenset({Mode.ARMED, Mode.HOLD, Mode.DRY_RUN})
_PROGRAM_START_S = 20.0
_KICK_S = 0.02


class Motion:
    """The worker's state machine; call :meth:`handle` and :meth:`cycle` from one thread."""

    def __init__(
        self,
        arm: ArmDriver,
        gripper: Gripper | NoGripper,
        settings: WorkerSettings,
        send: Callable[[Message], None],
        now_s: float,
    ) -> None:
        """Begin disarmed. ``send`` delivers messages to the node."""
        self._arm = arm
        self._gripper = gripper
        self._settings = settings
        self._limits = settings.limits
        self._send = send
        self.mode = Mode.DISARMED
        self.link_lost = False
        self.late_cycles = 0
        self._counts = [0] * (max(Check) + 1)
        self._memory = CycleMemory()
        self._follower = Follower(arm, gripper, settings)
        self._upstream = Upstream(settings.deadman, now_s)
        self._kicked_s = -np.inf
        self._held: Check | None = None
        self._homing: Homing | None = None
        self._wrenches: deque[np.ndarray] = deque(maxlen=25)
        self._bias = np.zeros(6)
        self._now_s = now_s
        self._sample: Sample = arm.sample(now_s)

    def handle(self, message: Message, now_s: float) -> None:
        """Take one message of the node."""
        self._now_s = now_s
        if isinstance(message, Heartbeat):
            self._upstream.hear(message, now_s)
        elif isinstance(message, Target):
            self._take(message, now_s)
        elif isinstance(message, Arm):
            self._request(message.request, lambda: self._start(message.dry_run, now_s))
        elif isinstance(message, Home):
            self._request(
                message.request, lambda: self._go_home(message.request, now_s), later=True
            )
        elif isinstance(message, Disarm):
            self._request(message.request, self.disarm)
        elif isinstance(message, Latch):
            self.latch(Fault(message.fault), message.message)

    def cycle(self, now_s: float) -> RobotState:
        """Read, judge, stream; returns what was read."""
        self._now_s = now_s
        self._sample = self._arm.sample(now_s)
        if self.mode in _FOLLOWING:
            self._follow(now_s)
        elif self.mode is Mode.HOMING:
            self._watch_home(now_s)
        elif self.mode is Mode.DISARMED:
            self._wrenches.append(self._sample.wrench)
            self._watch_rest()
        streaming = self.mode in (Mode.ARMED, Mode.HOLD) and self._follower.active
        resting = self._arm.program_loaded and not streaming and self.mode is not Mode.FAULT
        if resting and now_s - self._kicked_s >= _KICK_S:
            self._kicked_s = now_s
            self._arm.kick()
        return self._state(now_s)

    def disarm(self) -> None:
        """Brake and rest; targets are ignored from now on."""
        if self.mode in (Mode.ARMED, Mode.HOLD):
            self._arm.brake()
        elif self.mode is Mode.HOMING:
            self._arm.stop_moving()
            self._finish_home(False, 'Homing was stopped.')
        if self.mode is not Mode.FAULT:
            self.mode = Mode.DISARMED
        self._follower.forget()

    def latch(self, fault: Fault, message: str) -> None:
        """Brake, end the program and remember why."""
        if self.mode is Mode.FAULT:
            return
        was, self.mode = self.mode, Mode.FAULT
        self.link_lost = fault in LINK_FAULTS
        # The name goes out first: after a lost link the process may not live to say it.
        self._send(Faulted(fault.value, message))
        if not self.link_lost:
            if was in (Mode.ARMED, Mode.HOLD):
                self._arm.brake()
            elif was is Mode.HOMING:
                self._arm.stop_moving()
            self._arm.end_program()
        self._finish_home(False, message)
        self._follower.forget()

    def _request(self, number: int, act: Callable[[], None], later: bool = False) -> None:
        """Do what a service asks for and reply, now or when ``act`` has come to its end."""
        try:
            if self.mode is Mode.FAULT:
                raise RobotFault('A fault is latched; call reset_fault, then try again.')
            act()
        except SqilError as error:
            self._reply(number, False, str(error))
        else:
            if not later:
                self._reply(number, True, self.mode.name.lower())

    def _start(self, dry_run: bool, now_s: float) -> None:
        self.disarm()
        complaint = workspace_complaint(self._sample.tcp, self._limits) or self._gripper.fault
        if complaint:
            raise RobotFault(complaint)
        if not dry_run:
            self._prepare(now_s)
        self._follower.begin(self._sample.tcp)
        self._upstream.command_s = None
        self._memory = CycleMemory()
        self._held = None
        self.mode = Mode.DRY_RUN if dry_run else Mode.ARMED

    def _prepare(self, now_s: float) -> None:
        """Have a healthy controller run our program."""
        stop = controller_stop(self._seen(now_s, playing=True), self._limits)
        if stop is not None:
            raise RobotFault(stop.message)
        if self._arm.program_loaded and self._sample.runtime_state != PROGRAM_PLAYING:
            self._arm.end_program()
        if not self._arm.program_loaded:
            self._send(Busy(_PROGRAM_START_S))
            self._arm.start_program()
            self._sample = self._arm.sample(now_s)
        self._bias = np.mean(self._wrenches, axis=0) if self._wrenches else np.zeros(6)

    def _take(self, target: Target, now_s: float) -> None:
        if self.mode not in _FOLLOWING:
            return
        self._upstream.command_s = now_s
        self._follower.take(target)

    def _follow(self, now_s: float) -> None:
        dry_run = self.mode is Mode.DRY_RUN
        if self._gripper.fault:
            self.latch(Fault.GRIPPER_LOST, self._gripper.fault)
            return
        setpoint = self._follower.step(now_s)
        result = check_cycle(
            self._seen(now_s, dry_run, setpoint.pose if dry_run and setpoint else None),
            setpoint,
            self._memory,
            self._limits,
            now_s,
        )
        self._memory = result.memory
        if result.check is not None and result.check is not self._held:
            self._counts[result.check] += 1
        if result.verdict is Verdict.STOP:
            assert result.fault is not None
            self.latch(result.fault, result.message)
            return
        new = result.check is not self._held
        self._held = result.check
        if result.verdict is Verdict.BRAKE and not dry_run:
            self._follower.brake()
        elif result.verdict >= Verdict.HOLD and new:
            self._follower.hold()
        if self._memory.contact_since_s is None:
            self._follower.free()
        if result.verdict is Verdict.PASS and not self._follower.active:
            self._follower.resume(self._sample.tcp)
        elif (
            setpoint is not None
            and self._follower.active
            and not self._follower.send(setpoint, dry_run)
        ):
            # The next samples tell why; until then the program does not follow anyway.
            self._counts[Check.ROBOT_STATE] += 1
        if not dry_run:
            self.mode = Mode.ARMED if result.verdict is Verdict.PASS else Mode.HOLD

    def _go_home(self, request: int, now_s: float) -> None:
        self.disarm()
        self._prepare(now_s)
        self._follower.open_gripper()
        self._homing = Homing(request, self._settings, self._sample.joints, now_s)
        self._arm.move_home()
        self._memory = CycleMemory()
        self.mode = Mode.HOMING

    def _watch_home(self, now_s: float) -> None:
        assert self._homing is not None
        result = check_cycle(self._seen(now_s), None, self._memory, self._limits, now_s)
        self._memory = result.memory
        if result.verdict is Verdict.STOP:
            assert result.fault is not None
            self.latch(result.fault, result.message)
        elif result.verdict is Verdict.BRAKE:
            self._arm.stop_moving()
            self._finish_home(False, f'Homing was broken off: {result.message}')
        elif self._homing.arrived(self._sample):
            self._finish_home(True, 'home')
        elif self._homing.overdue(now_s):
            self._arm.stop_moving()
            self._finish_home(False, 'The arm did not arrive at home in time; free its way.')

    def _finish_home(self, ok: bool, message: str) -> None:
        if self._homing is None:
            return
        request, self._homing = self._homing.request, None
        if self.mode is Mode.HOMING:
            self.mode = Mode.DISARMED
        self._reply(request, ok, message)

    def _reply(self, request: int, ok: bool, message: str) -> None:
        # Whoever is answered must find the state that the answer speaks of.
        self._send(self._state(self._now_s))
        self._send(Reply(request, ok, message))

    def _watch_rest(self) -> None:
        """While disarmed only what needs an operator is latched."""
        stop = controller_stop(self._seen(0.0, playing=True), self._limits)
        if stop is not None and stop.fault is not Fault.ROBOT_NOT_READY:
            self.latch(stop.fault, stop.message)
        elif self._arm.program_loaded and self._sample.runtime_state != PROGRAM_PLAYING:
            self._arm.end_program()

    def _seen(self, now_s: float, playing: bool = False, at: Pose | None = None) -> CycleState:
        """The newest sample as the checks want it; see :meth:`Upstream.cycle_state`."""
        state = self._upstream.cycle_state(
            self._sample, self._bias, now_s, self.mode in _FOLLOWING, playing, at
        )
        return dataclasses.replace(state, retreating=self._follower.retreats(self._sample.tcp))

    def _state(self, now_s: float) -> RobotState:
        sample = self._sample
        target = self._follower.newest or sample.tcp
        return RobotState(
            stamp_s=now_s - sample.age_s,
            mode=int(self.mode),
            epoch=self._follower.epoch,
            joints=tuple(sample.joints.tolist()),
            joint_speeds=tuple(sample.joint_speeds.tolist()),
            tcp=pose_to_vector(sample.tcp),
            target=pose_to_vector(target),
            twist=tuple(sample.twist.tolist()),
            wrench=tuple((sample.wrench - self._bias).tolist()),
            gripper=self._gripper.opening,
            gripper_target=self._follower.gripper_target,
            robot_mode=sample.robot_mode,
            safety_mode=sample.safety_mode,
            runtime_state=sample.runtime_state,
            check_counts=tuple(self._counts),
            late_cycles=self.late_cycles,
        )
