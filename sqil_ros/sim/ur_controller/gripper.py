# SPDX-License-Identifier: Apache-2.0
"""Port 63352: the Robotiq URCap's text protocol in front of the plant's gripper."""

from __future__ import annotations

from sqil_ros.sim.ur_controller.plant import Plant
from sqil_ros.sim.ur_controller.robot import Robot

PORT = 63352
_AT_TARGET = 5
_MOVING, _STOPPED_OPENING, _STOPPED_CLOSING, _ARRIVED = range(4)
_SETTABLE = ('ACT', 'GTO', 'FOR', 'SPE', 'POS', 'ATR')


class Gripper:
    """A 2F-85: 0 is open, 255 closed. It wants to be activated before it moves.

    Attributes:
        opening: opening asked of the plant, 1 = open.
    """

    def __init__(self, robot: Robot, plant: Plant) -> None:
        """Start inactive, as after power-up, and hold the present opening."""
        self._robot = robot
        self._plant = plant
        self._registers = dict.fromkeys(_SETTABLE, 0)
        self.opening = plant.gripper_opening()
        self._requested = self._position()

    def answer(self, line: str) -> str:
        """Reply to one request; an acknowledgement has no line end, as clients expect it."""
        words = line.split()
        if not words:
            return ''
        if words[0] == 'SET' and len(words) % 2 == 1:
            return 'ack' if self._set(words[1:]) else 'nack'
        if words[0] == 'GET' and len(words) == 2:
            return f'{words[1]} {self._get(words[1])}\n'
        return 'nack'

    def _set(self, words: list[str]) -> bool:
        names, texts = words[::2], words[1::2]
        if not all(
            name in _SETTABLE and text.isdigit() for name, text in zip(names, texts, strict=True)
        ):
            return False
        values = {name: min(int(text), 255) for name, text in zip(names, texts, strict=True)}
        self._registers.update(values)
        if 'POS' in values:
            self._requested = values['POS']
        if self._registers['ACT'] == 1 and self._registers['GTO'] == 1:
            self.opening = 1.0 - self._requested / 255.0
        return True

    def _get(self, name: str) -> str:
        if self._robot.safety.emergency_stopped:
            return '?'
        value = {
            'POS': self._position(),
            'PRE': self._requested,
            'STA': 3 if self._registers['ACT'] else 0,
            'OBJ': self._object(),
            'FLT': 0,
        }.get(name, self._registers.get(name))
        return '?' if value is None else str(value)

    def _position(self) -> int:
        return round(255.0 * (1.0 - self._plant.gripper_opening()))

    def _object(self) -> int:
        distance = round(255.0 * (1.0 - self.opening)) - self._position()
        if abs(distance) <= _AT_TARGET:
            return _ARRIVED
        if not self._plant.gripper_object_detected():
            return _MOVING
        return _STOPPED_CLOSING if distance > 0 else _STOPPED_OPENING
