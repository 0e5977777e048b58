# SPDX-License-Identifier: Apache-2.0
"""Port 30004: one RTDE client at a time per connection, set-up first, then data both ways."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from sqil_ros.sim.ur_controller.fields import OUTPUTS
from sqil_ros.sim.ur_controller.net import Connection, Network
from sqil_ros.sim.ur_controller.registers import NOT_FOUND, Registers
from sqil_ros.sim.ur_controller.rtde_protocol import (
    PROTOCOL_VERSION,
    FieldType,
    PackageReader,
    PackageType,
    ProtocolError,
    Recipe,
    Value,
    decode_names,
    decode_output_setup,
    encode_package,
)

PORT = 30004
_OUTPUT_RECIPE = 1
_SEND_BUFFER_BYTES = 16384

Version = tuple[int, int, int, int]
Received = Callable[[dict[str, Value]], None]


class RtdeConnection(Connection):
    """One RTDE client.

    Attributes:
        dropped: states not sent because the client was too slow.
    """

    def __init__(
        self,
        network: Network,
        registers: Registers,
        received: Received,
        version: Version,
        rate: float,
    ) -> None:
        """Serve ``registers``; ``received`` is told of every data package."""
        super().__init__(network)
        self._registers = registers
        self._received = received
        self._version = version
        self._rate = rate
        self._reader = PackageReader()
        self._inputs: dict[int, Recipe] = {}
        self._outputs: Recipe | None = None
        self._decimation = 1
        self._started = False
        self.dropped = 0

    def opened(self) -> None:
        """See :class:`Connection`."""
        # A slow client should miss states, not find seconds of old ones in the kernel's buffer.
        self.limit_send_buffer(_SEND_BUFFER_BYTES)

    def closed(self) -> None:
        """See :class:`Connection`: what the client owned is free again, the values stay."""
        self._registers.release(self)

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        try:
            for kind, body in self._reader.feed(data):
                self._handle(kind, body)
        except ProtocolError:
            self.abort()

    def publish(self, cycle: int, state: Mapping[str, Value]) -> None:
        """Send the state of controller cycle number ``cycle`` if the client wants this one."""
        if not self._started or self._outputs is None or cycle % self._decimation:
            return
        body = self._outputs.pack(state)
        if not self.send_if_idle(encode_package(PackageType.DATA, body)):
            self.dropped += 1

    def _handle(self, kind: int, body: bytes) -> None:
        if kind == PackageType.DATA:
            self._take_data(body)
        elif kind == PackageType.PROTOCOL_VERSION:
            wanted = struct.unpack('>H', body)[0] if len(body) == 2 else 0
            self._reply(kind, bytes([wanted == PROTOCOL_VERSION]))
        elif kind == PackageType.CONTROLLER_VERSION:
            self._reply(kind, struct.pack('>4I', *self._version))
        elif kind == PackageType.SETUP_OUTPUTS:
            self._reply(kind, self._set_up_outputs(body))
        elif kind == PackageType.SETUP_INPUTS:
            self._reply(kind, self._set_up_inputs(body))
        elif kind == PackageType.START:
            self._started = self._outputs is not None
            self._reply(kind, bytes([self._started]))
        elif kind == PackageType.PAUSE:
            self._started = False
            self._reply(kind, b'\x01')

    def _reply(self, kind: int, body: bytes) -> None:
        self.send(encode_package(kind, body))

    def _set_up_outputs(self, body: bytes) -> bytes:
        frequency, names = decode_output_setup(body)
        types = [OUTPUTS.get(name) for name in names]
        labels = [NOT_FOUND if kind is None else kind.label for kind in types]
        known = tuple(kind for kind in types if kind is not None)
        if len(known) == len(names):
            self._outputs = Recipe(_OUTPUT_RECIPE, names, known)
            self._decimation = max(1, round(self._rate / frequency)) if frequency > 0 else 1
        return bytes([_OUTPUT_RECIPE]) + ','.join(labels).encode()

    def _set_up_inputs(self, body: bytes) -> bytes:
        names = decode_names(body)
        verdict = self._registers.claim(names, self)
        types = tuple(kind for kind in verdict if isinstance(kind, FieldType))
        number = 0
        if len(types) == len(names) and len(self._inputs) < 255:
            number = len(self._inputs) + 1
            self._inputs[number] = Recipe(number, names, types)
        labels = [kind.label if isinstance(kind, FieldType) else kind for kind in verdict]
        return bytes([number]) + ','.join(labels).encode()

    def _take_data(self, body: bytes) -> None:
        recipe = self._inputs.get(body[0]) if body else None
        # A size that does not fit its recipe is ignored: ur_rtde's setExternalForceTorque sends
        # such packages, and a real controller survives them.
        if recipe is not None and len(body) == recipe.size:
            self._received(recipe.unpack(body))
