# SPDX-License-Identifier: Apache-2.0
"""The arm behind ``ur_rtde``. Lives in the worker process only, used by one thread only."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

import numpy as np

from sqil_ros.errors import RobotFault, RobotUnreachable
from sqil_ros.geometry import (
    base_from_base_link,
    base_link_from_base,
    pose_from_vector,
    vector_from_pose,
)
from sqil_ros.kinematics import forward
from sqil_ros.robot.dashboard import Dashboard
from sqil_ros.robot.driver import Sample
from sqil_ros.robot.probe import ControllerInfo, probe
from sqil_ros.robot.settings import WorkerSettings
from sqil_ros.safety.controller import PROGRAM_PLAYING, PROGRAM_STOPPED, SAFETY_PROTECTIVE
from sqil_ros.types import Array, Pose

CONSTRUCTION_S = 8.0
"""An upload takes some tens of milliseconds; ur_rtde itself gives up after 5 s."""

_VARIABLES = [
    'timestamp',
    'actual_q',
    'actual_qd',
    'actual_TCP_pose',
    'actual_TCP_speed',
    'actual_TCP_force',
    'robot_mode',
    'safety_mode',
    'runtime_state',
    'safety_status_bits',
    'robot_status_bits',
]
_NO_REAL_TIME_PRIORITY = -1
_UPLOAD_S, _STOP_S = 5.0, 2.0
_TCP_TOLERANCE_M, _TCP_PATIENCE_S = 0.03, 0.5
_HALF_TURN = np.array([-1.0, -1.0, 1.0, -1.0, -1.0, 1.0])


@contextlib.contextmanager
def killed_after(seconds: float) -> Iterator[None]:
    """Let the kernel end this process unless the block is left in time.

    The constructors of ur_rtde hold the GIL while they wait, so no Python code could.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


class UrArm:
    """See :class:`sqil_ros.robot.driver.ArmDriver`."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Probe the controller and connect to its state.

        Raises:
            RobotUnreachable: the controller does not answer.
            RobotFault: after a reset, a protective stop cannot be released.
        """
        self.info: ControllerInfo = probe(settings.host, settings.probe_s)
        # Imported here: there is no wheel for aarch64, and no other process needs it.
        import rtde_control
        import rtde_receive

        self._settings = settings
        self._control_class = rtde_control.RTDEControlInterface
        self._control: rtde_control.RTDEControlInterface | None = None
        self.program_loaded = False
        with killed_after(CONSTRUCTION_S):
            try:
                self._receive = rtde_receive.RTDEReceiveInterface(
                    settings.host,
                    settings.rate_hz,
                    _VARIABLES,
                    False,
                    False,
                    _NO_REAL_TIME_PRIORITY,
                )
            except RuntimeError as error:
                raise RobotUnreachable(
                    f'{settings.host} sends no robot state: {error}; check the controller.'
                ) from error
        self._timestamp = -1.0
        self._advanced_s = -np.inf
        self._tcp_set = False
        if settings.recover:
            self._recover()

    def sample(self, now_s: float) -> Sample:
        """Read the newest state; ur_rtde repeats it for ever when the robot falls silent."""
        receive = self._receive
        timestamp = receive.getTimestamp()
        joints = np.array(receive.getActualQ())
        if timestamp != self._timestamp:
            self._timestamp, self._advanced_s = timestamp, now_s
        return Sample(
            age_s=now_s - self._advanced_s,
            connected=receive.isConnected(),
            joints=joints,
            joint_speeds=np.array(receive.getActualQd()),
            tcp=self._reported_tcp() if self._tcp_set else self._nominal_tcp(joints),
            twist=_HALF_TURN * receive.getActualTCPSpeed(),
            wrench=_HALF_TURN * receive.getActualTCPForce(),
            robot_mode=receive.getRobotMode(),
            safety_mode=receive.getSafetyMode(),
            runtime_state=receive.getRuntimeState(),
        )

    def start_program(self) -> None:
        """Upload the control program, set TCP and payload, arm the watchdog."""
        settings = self._settings
        with killed_after(CONSTRUCTION_S):
            try:
                if self._control is None:
                    self._control = self._control_class(
                        settings.host, settings.rate_hz, rt_priority=_NO_REAL_TIME_PRIORITY
                    )
                elif not self._reupload():
                    raise RobotFault('The controller did not start the control program again.')
            except RuntimeError as error:
                raise RobotFault(
                    f'The controller refused the control program: {error}; put it in remote '
                    'control, power the arm on, and end other programs.'
                ) from error
        self.program_loaded = True
        control = self._control
        if not (
            control.setTcp(list(settings.tcp_offset))
            and control.setPayload(settings.payload_kg, list(settings.payload_cog))
        ):
            raise RobotFault('The controller refused TCP or payload; see its log.')
        self._check_tcp()
        self._tcp_set = True
        # Last, because from now on every pause is one too long.
        if not control.setWatchdog(settings.watchdog_hz):
            raise RobotFault('The controller refused the watchdog; see its log.')

    def servo(self, pose: Pose) -> bool:
        """Stream one setpoint in ``base_link``."""
        vector = vector_from_pose(base_from_base_link(pose))
        if self._control is None or not np.all(np.isfinite(vector)):
            return False
        settings = self._settings
        return bool(
            self._control.servoL(
                vector.tolist(),
                0.0,
                0.0,
                1.0 / settings.rate_hz,
                settings.servo_lookahead,
                settings.servo_gain,
            )
        )

    def kick(self) -> None:
        """Tell the watchdog that we live while nothing is streamed."""
        if self._control is not None and self.program_loaded:
            self._control.kickWatchdog()

    def brake(self) -> None:
        """Decelerate to rest; the program goes on."""
        if self._control is not None and self._receive.getRuntimeState() == PROGRAM_PLAYING:
            self._control.servoStop(self._settings.brake)

    def end_program(self) -> None:
        """Stop the program; a paused one as well, or ``play`` would resume its old target."""
        if not self.program_loaded:
            return
        self.program_loaded = False
        if self._control is not None and self._receive.getRuntimeState() == PROGRAM_PLAYING:
            self._control.stopScript()
        elif self.info.has_dashboard:
            with (
                contextlib.suppress(RobotUnreachable, RobotFault),
                Dashboard(self._settings.host) as dashboard,
            ):
                dashboard.stop_program()

    def move_home(self) -> None:
        """Begin to move to the home joints."""
        settings = self._settings
        if self._control is None or not self._control.moveJ(
            list(settings.home), settings.home_speed, settings.home_acceleration, True
        ):
            raise RobotFault('The controller refused to move home; see its log.')

    def stop_moving(self) -> None:
        """Break off :meth:`move_home`."""
        if self._control is not None and self._receive.getRuntimeState() == PROGRAM_PLAYING:
            self._control.stopJ(self._settings.brake)

    def _reported_tcp(self) -> Pose:
        """TCP pose with the arm's own calibration, once the controller knows our tool."""
        return base_link_from_base(pose_from_vector(np.array(self._receive.getActualTCPPose())))

    def _nominal_tcp(self, joints: Array) -> Pose:
        """TCP pose by the nominal lengths: the pendant's tool may be another one than ours."""
        limits = self._settings.limits
        return base_link_from_base(forward(limits.arm, joints, limits.tcp))

    def _check_tcp(self) -> None:
        """Wait for the new TCP to be reported, and see that arm and contract agree."""
        end_s = time.monotonic() + _TCP_PATIENCE_S
        while True:
            nominal = self._nominal_tcp(np.array(self._receive.getActualQ()))
            away = float(np.linalg.norm(self._reported_tcp().position - nominal.position))
            if away < _TCP_TOLERANCE_M:
                return
            if time.monotonic() > end_s:
                raise RobotFault(
                    f'The controller sees the TCP {away:.3f} m from where a '
                    f'{self._settings.limits.arm.name} has it, limit {_TCP_TOLERANCE_M:g} m; '
                    'check ur_type and the tcp_offset of the contract.'
                )
            time.sleep(0.01)

    def _reupload(self) -> bool:
        # Any one-shot command first: it clears the register in which the old command, perhaps
        # the one that ended the program, would kill the new program at once.
        assert self._control is not None
        self._control.servoStop(self._settings.brake)
        if not self._control.reuploadScript():
            return False
        return self._runtime_becomes(PROGRAM_PLAYING, _UPLOAD_S)

    def _runtime_becomes(self, wanted: int, patience_s: float) -> bool:
        end_s = time.monotonic() + patience_s
        while self._receive.getRuntimeState() != wanted:
            if time.monotonic() > end_s:
                return False
            time.sleep(0.005)
        return True

    def _recover(self) -> None:
        """After an explicit reset: end what is paused, then release a protective stop."""
        if not self.info.has_dashboard:
            return
        with Dashboard(self._settings.host) as dashboard:
            dashboard.stop_program()
            if not self._runtime_becomes(PROGRAM_STOPPED, _STOP_S):
                raise RobotFault(
                    'The program of the controller does not stop; stop it at the pendant.'
                )
            if self._receive.getSafetyMode() == SAFETY_PROTECTIVE:
                dashboard.unlock_protective_stop()
