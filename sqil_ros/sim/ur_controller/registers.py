# SPDX-License-Identifier: Apache-2.0
"""The controller's input and output variables, and which connection may write which input."""

from __future__ import annotations

from collections.abc import Iterable

from sqil_ros.sim.ur_controller.fields import INPUTS, OUTPUT_DOUBLE, OUTPUT_INT, OUTPUTS
from sqil_ros.sim.ur_controller.rtde_protocol import FieldType, Value

IN_USE = 'IN_USE'
NOT_FOUND = 'NOT_FOUND'


class Registers:
    """Shared memory between RTDE clients and the running program.

    Inputs keep their last value when their writer disconnects: a program that was started anew
    can therefore meet an old command.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, Value] = {name: kind.zero for name, kind in INPUTS.items()}
        self.outputs: dict[str, Value] = {
            name: OUTPUTS[name].zero for name in OUTPUT_INT + OUTPUT_DOUBLE
        }
        self.written_at: dict[str, float] = {}
        self._owners: dict[str, object] = {}

    def claim(self, names: Iterable[str], owner: object) -> list[FieldType | str]:
        """Reserve inputs for ``owner``, all of them or none.

        Returns:
            One type per name, or ``IN_USE`` / ``NOT_FOUND`` where the claim fails.
        """
        names = tuple(names)
        verdict: list[FieldType | str] = []
        for name in names:
            if name not in INPUTS:
                verdict.append(NOT_FOUND)
            elif self._owners.get(name, owner) is not owner:
                verdict.append(IN_USE)
            else:
                verdict.append(INPUTS[name])
        if all(isinstance(kind, FieldType) for kind in verdict):
            self._owners.update(dict.fromkeys(names, owner))
        return verdict

    def release(self, owner: object) -> None:
        """Let go of everything that ``owner`` holds; the values stay."""
        self._owners = {n: holder for n, holder in self._owners.items() if holder is not owner}

    def write(self, values: dict[str, Value], now: float) -> None:
        """Store a data package's ``values``, received at ``now`` [s]."""
        self.inputs.update(values)
        self.written_at.update(dict.fromkeys(values, now))
