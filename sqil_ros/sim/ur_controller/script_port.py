# SPDX-License-Identifier: Apache-2.0
"""Ports 30001, 30002 and 30003: clients send URScript, nobody reads anything back."""

from __future__ import annotations

from collections.abc import Callable

from sqil_ros.sim.ur_controller.net import Connection, Network
from sqil_ros.sim.ur_controller.program_text import ProgramText, ScriptError, ScriptReader

PORTS = (30001, 30002, 30003)


class ScriptConnection(Connection):
    """One client that uploads programs."""

    def __init__(
        self,
        network: Network,
        upload: Callable[[ProgramText], None],
        refuse: Callable[[str], None],
    ) -> None:
        """Hand complete programs to ``upload``, and what is wrong with others to ``refuse``."""
        super().__init__(network)
        self._upload = upload
        self._refuse = refuse
        self._reader = ScriptReader()

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        try:
            programs = self._reader.feed(data)
        except ScriptError as error:
            self._refuse(str(error))
            return
        for program in programs:
            self._upload(program)
