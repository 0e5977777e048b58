# SPDX-License-Identifier: Apache-2.0
"""ur_rtde's control program, re-enacted: the command handshake and the motion threads.

The structure follows the script that ur_rtde 1.6 uploads (MIT): a main loop takes commands from
input registers, and motion threads go on with their last target until they are stopped. That is
why a client's death does not stop the arm.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from sqil_ros.geometry import pose_from_vector
from sqil_ros.sim.ur_controller.commands import MOTION_COMMANDS
from sqil_ros.sim.ur_controller.fields import INPUT_DOUBLE, INPUT_INT, OUTPUT_DOUBLE, OUTPUT_INT
from sqil_ros.sim.ur_controller.motion import Motion, MotionError, solve
from sqil_ros.sim.ur_controller.program import Program, build_move
from sqil_ros.sim.ur_controller.program_text import MoveStatement, ProgramText
from sqil_ros.sim.ur_controller.queries import QUERY_COMMANDS
from sqil_ros.sim.ur_controller.robot import Robot
from sqil_ros.types import Array

READY = 1
DONE = 2
STOP_SCRIPT = 255
COMMANDS = {**MOTION_COMMANDS, **QUERY_COMMANDS}
STREAMING = frozenset({6, 9, 10, 11, 24, 25, 26, 27, 38, 58, *range(66, 72)})
"""Commands that the program executes every cycle for as long as they stand in the register."""

_ASYNC_RUNNING = 1 << 15


class ControlProgram(Program):
    """The program behind RTDEControlInterface.

    Attributes:
        thread: name of the motion thread that moves the arm; empty if none does.
    """

    def __init__(self, text: ProgramText, robot: Robot) -> None:
        """See :class:`Program`."""
        super().__init__(text, robot)
        self.thread = ''
        self._thread_motion: Motion | None = None
        self._main_motion: Motion | None = None
        self._executed = False
        self._solved_for, self._solved_tcp = b'', robot.arm.tcp
        self._solution = robot.arm.q
        self._async_operation = 0
        self._async_writes = 0
        self.report_progress(-1)
        self.write_int(0, READY)

    # ---- registers, counted from the program's offset --------------------------------------

    def read_int(self, index: int) -> int:
        """Integer input register."""
        value = self.robot.registers.inputs[INPUT_INT[self.text.offset + index]]
        return value if isinstance(value, int) else 0

    def read_doubles(self, start: int, count: int) -> Array:
        """Double input registers as (count,)."""
        first = self.text.offset + start
        inputs = self.robot.registers.inputs
        return np.array([inputs[name] for name in INPUT_DOUBLE[first : first + count]])

    def read_double(self, index: int) -> float:
        """Double input register."""
        return float(self.read_doubles(index, 1)[0])

    def write_int(self, index: int, value: int) -> None:
        """Integer output register."""
        self.robot.registers.outputs[OUTPUT_INT[self.text.offset + index]] = value

    def write_doubles(self, start: int, values: Array) -> None:
        """Double output registers from ``start`` on."""
        first = self.text.offset + start
        names = OUTPUT_DOUBLE[first : first + len(values)]
        self.robot.registers.outputs.update(zip(names, values.tolist(), strict=True))

    def report_progress(self, value: int) -> None:
        """Write the async word: change counter, operation id, running bit and progress.

        Args:
            value: 0 begins an operation, a positive number is progress, -1 ends it.
        """
        self._async_writes = (self._async_writes + 1) % 128
        if value == 0:
            self._async_operation = (self._async_operation + 1) % 128
        word = self._async_writes << 16 | self._async_operation << 24
        if value >= 0:
            word |= min(value, 0x7FFF) | _ASYNC_RUNNING
        self.write_int(2, word)

    # ---- who moves the arm -------------------------------------------------------------------

    def run_thread(self, name: str, motion: Motion) -> None:
        """Let the motion thread ``name`` move the arm from now on.

        Raises:
            MotionError: another thread already does.
        """
        if self.thread not in ('', name):
            raise MotionError(
                f'The {self.thread} thread already controls the robot, so '
                f'{name or "the main loop"} cannot; stop it first (servoStop, speedStop, stopL).'
            )
        self.thread = name
        self._thread_motion = self.robot.arm.motion = motion

    def thread_motion(self, name: str) -> Motion | None:
        """The motion of thread ``name`` if it is the one that runs."""
        return self._thread_motion if self.thread == name else None

    def run_async(self, name: str, motion: Motion) -> None:
        """Run ``motion`` in thread ``name`` and report it in the async word."""
        self.run_thread(name, motion)
        self.report_progress(0)

    def kill_thread(self, *names: str) -> bool:
        """End the running motion thread if it is one of ``names``; something must then brake."""
        if self.thread not in names:
            return False
        if self.thread in ('move', 'stop'):
            self.report_progress(-1)
        self.thread, self._thread_motion = '', None
        return True

    def run_main(self, motion: Motion) -> Motion:
        """Move the arm from the main loop, which waits until the motion is done.

        Raises:
            MotionError: a thread already moves it.
        """
        self.run_thread('', motion)
        return motion

    def servo_joints_for(self, vector: Array) -> Array:
        """Joint angles for a servoL target; the same target is solved only once.

        Raises:
            MotionError: the target is not finite or cannot be reached.
        """
        arm = self.robot.arm
        if vector.tobytes() != self._solved_for or arm.tcp is not self._solved_tcp:
            # The last solution is nearer than the arm, which trails behind its target.
            seed = self._solution if self.thread == 'servo' else arm.q
            self._solution = solve(arm, pose_from_vector(vector), seed)
            self._solved_for, self._solved_tcp = vector.tobytes(), arm.tcp
        return self._solution

    def path(self) -> list[Callable[[], Motion]]:
        """The moves injected into the program's text, each to be planned when it begins."""
        return [
            partial(build_move, statement, self.robot)
            for statement in self.text.statements
            if isinstance(statement, MoveStatement)
        ]

    # ---- the main loop -----------------------------------------------------------------------

    def step(self) -> bool:
        """See :class:`Program`."""
        if self._thread_motion is not None and self._thread_motion.done:
            self.kill_thread('move', 'stop')
        if self._main_motion is not None:
            if not self._main_motion.done:
                return True
            self._main_motion = None
            self.write_int(0, DONE)
        command = self.read_int(0)
        if command == 0:
            self._executed = False
            self.write_int(0, READY)
        elif command in STREAMING:
            self._execute(command)
            self.write_int(0, READY)
        elif command == STOP_SCRIPT and not self._executed:
            return False
        elif not self._executed:
            self._executed = True
            self._main_motion = self._execute(command)
            if self._main_motion is None:
                self.write_int(0, DONE)
        return True

    def _execute(self, command: int) -> Motion | None:
        """Carry out a command; the motion that the main loop must wait for, if any."""
        handler = COMMANDS.get(command)
        return handler(self) if handler is not None else None
