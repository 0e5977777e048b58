# SPDX-License-Identifier: Apache-2.0
"""Port 30900: what a real controller does not have, as one JSON object a line each way.

Scene resets, ground truth, injected faults and statistics; never the control of the arm.
:mod:`sqil_ros.sim.side_channel` is the client.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqil_ros.errors import ParameterError, SqilError

if TYPE_CHECKING:
    from sqil_ros.sim.ur_controller.controller import Controller


class SideChannelServer:
    """Answers commands of the side channel."""

    def __init__(self, controller: Controller) -> None:
        """Serve ``controller``."""
        self._controller = controller
        self._commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            'snapshot': lambda _: controller.plant.snapshot(),
            'success': lambda _: controller.plant.success(),
            'statistics': lambda _: controller.report(),
            'reset': self._reset,
            'fault': self._fault,
        }

    def answer(self, line: str) -> str:
        """Reply to one request; an ``error`` names what was wrong with it."""
        try:
            request = json.loads(line)
            if not isinstance(request, dict) or request.get('cmd') not in self._commands:
                raise ParameterError(
                    f'{line[:80]!r} is not a request; send {{"cmd": ...}} with one of '
                    f'{", ".join(self._commands)}.'
                )
            reply = self._commands[request['cmd']](request)
        except (SqilError, ValueError) as error:
            reply = {'error': str(error)}
        return json.dumps(reply) + '\n'

    def _reset(self, request: dict[str, Any]) -> dict[str, Any]:
        seed = request.get('seed')
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ParameterError(f'seed is {seed!r}; give an integer from 0 on.')
        task, variation = str(request.get('task', '')), str(request.get('variation', 'nominal'))
        self._controller.plant.reset(seed, task, variation)
        return {'ok': True}

    def _fault(self, request: dict[str, Any]) -> dict[str, Any]:
        self._controller.faults.inject(str(request.get('kind', '')), request)
        return {'ok': True}
