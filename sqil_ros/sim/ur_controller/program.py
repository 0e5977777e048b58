# SPDX-License-Identifier: Apache-2.0
"""A running program, and the simple kind: statements carried out one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from sqil_ros.geometry import pose_from_vector
from sqil_ros.sim.ur_controller.fields import OUTPUT_DOUBLE, OUTPUT_INT
from sqil_ros.sim.ur_controller.motion import Motion, MotionError, solve
from sqil_ros.sim.ur_controller.moves import MoveJoints, MoveTool
from sqil_ros.sim.ur_controller.program_text import (
    MoveStatement,
    ProgramText,
    RegisterStatement,
    SleepStatement,
)
from sqil_ros.sim.ur_controller.robot import Robot


class Program(ABC):
    """A program on the controller."""

    def __init__(self, text: ProgramText, robot: Robot) -> None:
        """Start the program ``text`` on ``robot``."""
        self.text = text
        self.robot = robot

    @abstractmethod
    def step(self) -> bool:
        """Run one cycle; False once the program has ended.

        Raises:
            MotionError: a runtime exception, which ends the program.
        """


class ScriptProgram(Program):
    """Any program but ur_rtde's: the statements that are understood, once and in order."""

    def __init__(self, text: ProgramText, robot: Robot) -> None:
        """See :class:`Program`."""
        super().__init__(text, robot)
        self._left = list(text.statements)
        self._motion: Motion | None = None
        self._sleep_until = 0.0

    def step(self) -> bool:
        """See :class:`Program`."""
        while True:
            waiting = self._motion is not None and not self._motion.done
            if waiting or self.robot.now < self._sleep_until:
                return True
            if not self._left:
                return False
            statement = self._left.pop(0)
            if isinstance(statement, RegisterStatement):
                self._write(statement)
            elif isinstance(statement, SleepStatement):
                self._sleep_until = self.robot.now + statement.seconds
            else:
                self._motion = self.robot.arm.motion = build_move(statement, self.robot)

    def _write(self, statement: RegisterStatement) -> None:
        names = OUTPUT_INT if statement.is_int else OUTPUT_DOUBLE
        if not 0 <= statement.register < len(names):
            raise MotionError(
                f'Output register {statement.register} does not exist; there are {len(names)}.'
            )
        value = int(statement.value) if statement.is_int else statement.value
        self.robot.registers.outputs[names[statement.register]] = value


def build_move(statement: MoveStatement, robot: Robot) -> Motion:
    """The motion of a move statement, planned from where the arm is now.

    Raises:
        MotionError: the target cannot be reached.
    """
    arm, target = robot.arm, np.array(statement.target)
    if statement.name == 'movej':
        if statement.is_pose:
            target = solve(arm, pose_from_vector(target), arm.q)
        return MoveJoints(target, statement.speed, statement.acceleration)
    pose = pose_from_vector(target) if statement.is_pose else arm.pose_at(target)
    return MoveTool(pose, statement.speed, statement.acceleration)
