# SPDX-License-Identifier: Apache-2.0
"""The controller: one cycle after the other, from registers to the plant and back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqil_ros.kinematics import ARMS
from sqil_ros.sim.ur_controller.arm import Arm
from sqil_ros.sim.ur_controller.control_program import ControlProgram
from sqil_ros.sim.ur_controller.faults import Faults
from sqil_ros.sim.ur_controller.fields import INPUT_INT
from sqil_ros.sim.ur_controller.gripper import Gripper
from sqil_ros.sim.ur_controller.motion import MotionError, SafetyViolation, Stop
from sqil_ros.sim.ur_controller.net import Network
from sqil_ros.sim.ur_controller.plant import Plant
from sqil_ros.sim.ur_controller.program import Program, ScriptProgram
from sqil_ros.sim.ur_controller.program_text import ProgramText, RegisterStatement
from sqil_ros.sim.ur_controller.robot import Robot
from sqil_ros.sim.ur_controller.rtde_protocol import Value
from sqil_ros.sim.ur_controller.rtde_server import RtdeConnection, Version
from sqil_ros.sim.ur_controller.safety_state import SafetyState
from sqil_ros.sim.ur_controller.signals import Signals
from sqil_ros.sim.ur_controller.state import RuntimeState, StateWriter
from sqil_ros.sim.ur_controller.statistics import Statistics

# Real controllers take some tens of milliseconds from the upload to the first statement.
_UPLOAD_DELAY_S = 0.05
_SLIDER_PER_S = 2.0
_COMMAND_REGISTERS = (INPUT_INT[0], INPUT_INT[24])


@dataclass(frozen=True)
class Settings:
    """How the emulated robot is made.

    Attributes:
        host: address to listen on; each robot has its own 127.0.0.x.
        rate: control cycles a second, 125 or 500.
        version: PolyScope version reported.
        arm: ``ur5e`` or ``ur5``.
        unlock_delay: seconds a protective stop cannot be unlocked.
        servo_jump_limit: distance [rad] of a servo target that stops the robot protectively.
    """

    host: str
    rate: float
    version: Version
    arm: str = 'ur5e'
    unlock_delay: float = 0.0
    servo_jump_limit: float = float('inf')


class Controller:
    """Everything behind the ports. Not thread safe: one event loop calls it."""

    def __init__(self, settings: Settings, plant: Plant) -> None:
        """Power up in front of ``plant``, brakes open, no program."""
        self.settings = settings
        self.plant = plant
        q, _ = plant.joints()
        arm = Arm(ARMS[settings.arm], q)
        arm.servo_jump_limit = settings.servo_jump_limit
        self.robot = Robot(arm, SafetyState(settings.unlock_delay), 1.0 / settings.rate)
        self.network = Network()
        self.signals = Signals()
        self.faults = Faults(self)
        self.gripper = Gripper(self.robot, plant)
        self.statistics = Statistics()
        self._state = StateWriter(self.robot)
        self._program: Program | None = None
        self._pending: ProgramText | None = None
        self._pending_until = 0.0
        self._paused = False
        self._load_ms = 0.0

    # ---- programs ----------------------------------------------------------------------------

    @property
    def runtime(self) -> RuntimeState:
        """State of the program."""
        if self._program is None:
            return RuntimeState.STOPPED
        if not self._paused:
            return RuntimeState.PLAYING
        return RuntimeState.PAUSED if self.robot.arm.at_rest else RuntimeState.PAUSING

    def upload(self, text: ProgramText) -> None:
        """Run ``text`` in place of the present program, unless the robot may not."""
        if not (self.faults.remote_control and self.robot.safety.operational):
            self.refuse_upload('the robot is stopped or not in remote control')
            return
        self.statistics.uploads += 1
        if text.secondary:
            keep = tuple(s for s in text.statements if isinstance(s, RegisterStatement))
            ScriptProgram(ProgramText(text.name, True, False, 0, keep), self.robot).step()
            return
        self.stop_program()
        self._pending, self._pending_until = text, self.robot.now + _UPLOAD_DELAY_S

    def refuse_upload(self, reason: str) -> None:
        """Note that a program was not taken and why."""
        self.statistics.refused_uploads += 1
        self.statistics.program_error = f'Upload refused: {reason}'

    def stop_program(self, error: str = '') -> None:
        """End the program; the arm brakes, whatever it was doing."""
        if error:
            self.statistics.program_error = error
        self._program, self._pending, self._paused = None, None, False
        self.robot.watchdog.disarm()
        self.robot.arm.motion = Stop() if self.robot.arm.brake is None else None

    def pause(self) -> bool:
        """Pause the program with the arm at rest; False if none is playing."""
        if self._program is None or self._paused:
            return False
        self._paused = True
        self.robot.arm.brake = self.robot.arm.brake or Stop()
        return True

    def play(self) -> bool:
        """Resume a paused program, towards its old target; False if that cannot be."""
        if self._program is None or not self._paused or not self.robot.safety.operational:
            return False
        self._paused = False
        self.robot.arm.brake = None
        if self.robot.arm.motion is not None:
            self.robot.arm.motion.restart()
        return True

    def power_off(self) -> None:
        """Take the arm's power, which ends the program."""
        self.stop_program()
        self.robot.safety.power_off()

    def protective_stop(self, reason: str) -> None:
        """Stop protectively because of ``reason``."""
        self.robot.safety.protective_stop(self.robot.now, reason)

    # ---- clients -----------------------------------------------------------------------------

    def received(self, values: dict[str, Value]) -> None:
        """Take a data package from an RTDE client."""
        self.robot.registers.write(values, time.monotonic())
        if len(values) > 1:
            self.signals.apply(values)
        for name in _COMMAND_REGISTERS:
            command = values.get(name, 0)
            if isinstance(command, int) and command:
                self.statistics.count_command(command)

    def report(self) -> dict[str, Any]:
        """What the side channel's ``statistics`` answers."""
        robot = self.robot
        clients = [c for c in self.network.connections if isinstance(c, RtdeConnection)]
        return {
            'time': robot.step_time * self.statistics.cycles,
            'joints': robot.q.tolist(),
            'joint_speeds': robot.qd.tolist(),
            'joint_commands': robot.arm.q.tolist(),
            'tcp_pose': self._state.fields['actual_TCP_pose'],
            'tcp_speed': self._state.fields['actual_TCP_speed'],
            'gripper_opening': self.plant.gripper_opening(),
            'program': self.runtime.name.lower(),
            'robot_mode': robot.safety.robot_mode.name,
            'safety_mode': robot.safety.mode.name,
            'stop_reason': robot.safety.reason,
            'watchdog_trips': robot.watchdog.trips,
            'rtde_clients': len(clients),
            'dropped_states': sum(client.dropped for client in clients),
            'cpu_s': time.process_time(),
            **self.statistics.report(),
        }

    # ---- the cycle ---------------------------------------------------------------------------

    def cycle(self, now: float) -> None:
        """Run one control cycle at the monotonic time ``now`` [s]."""
        robot, statistics = self.robot, self.statistics
        self.faults.delay_cycle()
        robot.now = now
        self._supervise()
        self._run_program()
        self._move()
        self.plant.step(robot.arm.q, self.gripper.opening, robot.step_time)
        robot.q, robot.qd = self.plant.joints()
        robot.wrench = self.plant.tcp_wrench()
        statistics.cycles += 1
        elapsed = statistics.cycles * robot.step_time
        self._state.update(elapsed, self.runtime, self.signals, self._load_ms)
        statistics.note_speed(robot.qd, self._state.tcp_speed)
        if not self.faults.frozen:
            for client in tuple(self.network.connections):
                if isinstance(client, RtdeConnection):
                    client.publish(statistics.cycles, self._state.fields)
        self._load_ms = 1e3 * (time.monotonic() - now)

    def _supervise(self) -> None:
        """Let the safety system and the watchdog have their say before the program runs."""
        robot = self.robot
        if not robot.safety.operational:
            self.pause()
            self._pending = None
            robot.arm.brake = robot.arm.brake or Stop()
        elif robot.arm.brake is not None and robot.arm.brake.done and not self._paused:
            robot.arm.brake = None
        if self._program is not None and robot.watchdog.expired(robot.registers, robot.now):
            self.stop_program('The RTDE watchdog stopped the program: its client fell silent.')

    def _run_program(self) -> None:
        if self._pending is not None and self.robot.now >= self._pending_until:
            make = ControlProgram if self._pending.is_control else ScriptProgram
            self._program, self._pending = make(self._pending, self.robot), None
        if self._program is None or self._paused:
            return
        try:
            if not self._program.step():
                self.stop_program()
        except MotionError as error:
            self.stop_program(str(error))

    def _move(self) -> None:
        arm = self.robot.arm
        step = _SLIDER_PER_S * self.robot.step_time
        arm.speed_scaling += min(max(self.signals.slider - arm.speed_scaling, -step), step)
        try:
            arm.step(self.robot.step_time)
        except MotionError as error:
            self.stop_program(str(error))
        except SafetyViolation as error:
            self.protective_stop(str(error))
