# SPDX-License-Identifier: Apache-2.0
"""The arm behind ``ur_rtde``. Lives in the worker process only, used by one thread only."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import numpy as np

from sqil_ros.errors import RobotFault, RobotUnreachable
from sqil_ros.geometry import (
    base_from_base_link,
    base_link_from_base,
    pose_from_vector,
    vector_from_pose,
)
from sqil_ros.robot.dashboard import Dashboard
from sqil_ros.robot.driver import Sample
from sqil_ros.robot.probe import ControllerInfo, probe
from sqil_ros.robot.settings import WorkerSettings
from sqil_ros.safety.cycle import PROGRAM_PLAYING, SAFETY_PROTECTIVE
from sqil_ros.types import Pose

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
        if settings.recover:
            self._recover()

    def sample(self, now_s: float) -> Sample:
        """Read the newest state; ur_rtde repeats it for ever when the robot falls silent."""
        receive = self._receive
        timestamp = receive.getTimestamp()
        if timestamp != self._timestamp:
            self._timestamp, self._advanced_s = timestamp, now_s
        return Sample(
            age_s=now_s - self._advanced_s,
            connected=receive.isConnected(),
            joints=np.array(receive.getActualQ()),
            joint_speeds=np.array(receive.getActualQd()),
            tcp=base_link_from_base(pose_from_vector(np.array(receive.getActualTCPPose()))),
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
            and control.setWatchdog(settings.watchdog_hz)
        ):
            raise RobotFault('The controller refused TCP, payload or watchdog; see its log.')

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

    def _reupload(self) -> bool:
        # Any one-shot command first: it clears the register in which the old command, perhaps
        # the one that ended the program, would kill the new program at once.
        assert self._control is not None
        self._control.servoStop(self._settings.brake)
        return bool(self._control.reuploadScript())

    def _recover(self) -> None:
        """After an explicit reset: end what is paused, then release a protective stop."""
        if not self.info.has_dashboard:
            return
        with Dashboard(self._settings.host) as dashboard:
            dashboard.stop_program()
            if self._receive.getSafetyMode() == SAFETY_PROTECTIVE:
                dashboard.unlock_protective_stop()
