# SPDX-License-Identifier: Apache-2.0
"""Faults that tests inject on command."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqil_ros.errors import ParameterError

if TYPE_CHECKING:
    from sqil_ros.sim.ur_controller.controller import Controller

KINDS = {
    'protective_stop': 'category-2 stop; the program pauses',
    'emergency_stop': 'press the emergency stop; the program pauses, power goes',
    'release': 'end a protective or emergency stop as a hand at the pendant does',
    'freeze': 'keep every connection but send no state any more',
    'unfreeze': 'send states again',
    'drop': 'cut every TCP connection (seconds: refuse new ones for so long)',
    'refuse_remote': 'leave remote control: the dashboard says so, uploads are ignored',
    'allow_remote': 'return to remote control',
    'late': 'make control cycles late (cycles: how many, seconds: by how much each)',
    'unlock_delay': 'refuse to unlock a protective stop for this time (seconds)',
    'speed_slider': 'move the speed slider (fraction: 0 to 1)',
}
_LONGEST_S = 60.0


class Faults:
    """Faults in force and how to bring them about.

    Attributes:
        frozen: no states are sent.
        remote_control: programs may be uploaded.
    """

    def __init__(self, controller: Controller) -> None:
        """Inject into ``controller``."""
        self.frozen = False
        self.remote_control = True
        self._late_cycles = 0
        self._late_s = 0.0
        self._controller = controller
        self._inject: dict[str, Callable[[dict[str, Any]], None]] = {
            'protective_stop': lambda _: controller.protective_stop('injected'),
            'emergency_stop': lambda _: controller.robot.safety.emergency_stop('injected'),
            'release': lambda _: controller.robot.safety.release(),
            'freeze': lambda _: self._freeze(True),
            'unfreeze': lambda _: self._freeze(False),
            'drop': lambda a: controller.network.drop(_number(a, 'seconds', 0.0, _LONGEST_S)),
            'refuse_remote': lambda _: self._remote(False),
            'allow_remote': lambda _: self._remote(True),
            'late': self._late,
            'unlock_delay': self._unlock_delay,
            'speed_slider': self._slider,
        }

    def inject(self, kind: str, arguments: dict[str, Any]) -> None:
        """Bring about the fault ``kind``.

        Raises:
            ParameterError: there is no such fault, or an argument is out of range.
        """
        if kind not in self._inject:
            raise ParameterError(f'Unknown fault {kind!r}; choose one of {", ".join(KINDS)}.')
        self._inject[kind](arguments)

    def delay_cycle(self) -> None:
        """Called in every cycle: holds it up while late cycles are asked for."""
        if self._late_cycles > 0:
            self._late_cycles -= 1
            time.sleep(self._late_s)

    def _freeze(self, frozen: bool) -> None:
        self.frozen = frozen

    def _remote(self, allowed: bool) -> None:
        self.remote_control = allowed

    def _late(self, arguments: dict[str, Any]) -> None:
        self._late_cycles = round(_number(arguments, 'cycles', 10.0, 1000.0))
        self._late_s = _number(arguments, 'seconds', 0.02, 1.0)

    def _unlock_delay(self, arguments: dict[str, Any]) -> None:
        self._controller.robot.safety.unlock_delay = _number(arguments, 'seconds', 5.0, _LONGEST_S)

    def _slider(self, arguments: dict[str, Any]) -> None:
        self._controller.signals.slider = _number(arguments, 'fraction', 1.0, 1.0)


def _number(arguments: dict[str, Any], name: str, default: float, largest: float) -> float:
    """Argument ``name``, 0 to ``largest``."""
    value = arguments.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
        raise ParameterError(f'{name} is {value!r}; give a number from 0 to {largest:g}.')
    return float(value)
