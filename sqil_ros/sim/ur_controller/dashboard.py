# SPDX-License-Identifier: Apache-2.0
"""Port 29999: the dashboard, one line asked and one answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqil_ros.sim.ur_controller.state import RuntimeState

if TYPE_CHECKING:
    from sqil_ros.sim.ur_controller.controller import Controller

PORT = 29999
BANNER = 'Connected: Universal Robots Dashboard Server\n'
SERIAL_NUMBER = '20230000001'

_STATE_NAMES = {RuntimeState.PLAYING: 'PLAYING', RuntimeState.PAUSED: 'PAUSED'}
_FIXED = {
    'close safety popup': 'closing safety popup',
    'close popup': 'closing popup',
    'quit': 'Disconnected',
    'shutdown': 'Shutting down',
    'get serial number': SERIAL_NUMBER,
    'get loaded program': 'Loaded program: <unnamed>',
    'isprogramsaved': 'True <unnamed>',
}
_PREFIXED = {
    'popup ': 'showing popup',
    'addtolog ': 'Added log message',
    'setuserrole ': 'Setting user role',
}


class Dashboard:
    """Answers dashboard commands by acting on the controller."""

    def __init__(self, controller: Controller) -> None:
        """Serve ``controller``."""
        self._controller = controller
        self._commands: dict[str, Callable[[], str]] = {
            'play': self._play,
            'stop': self._stop,
            'pause': self._pause,
            'running': self._running,
            'programstate': self._program_state,
            'robotmode': self._robot_mode,
            'safetymode': self._safety_mode,
            'safetystatus': self._safety_status,
            'unlock protective stop': self._unlock,
            'power on': self._power_on,
            'power off': self._power_off,
            'brake release': self._brake_release,
            'restart safety': self._restart_safety,
            'polyscopeversion': self._version,
            'version': self._version,
            'get robot model': self._model,
            'is in remote control': self._remote,
        }

    def answer(self, line: str) -> str:
        """Reply to the command ``line``; names of commands are not case sensitive."""
        command = line.strip()
        key = command.lower()
        if key in self._commands:
            return self._commands[key]() + '\n'
        if key in _FIXED:
            return _FIXED[key] + '\n'
        for prefix, reply in _PREFIXED.items():
            if key.startswith(prefix):
                return reply + '\n'
        if key.startswith('load '):
            # Nothing is loaded, and play will say so: the emulator runs uploaded programs only.
            return f'Loading program: {command[5:]}\n'
        return f'could not understand: "{command}"\n'

    def _play(self) -> str:
        return 'Starting program' if self._controller.play() else 'Failed to execute: play'

    def _stop(self) -> str:
        self._controller.stop_program()
        return 'Stopped'

    def _pause(self) -> str:
        return 'Pausing program' if self._controller.pause() else 'Failed to execute: pause'

    def _running(self) -> str:
        running = self._controller.runtime is RuntimeState.PLAYING
        return f'Program running: {"true" if running else "false"}'

    def _program_state(self) -> str:
        return f'{_STATE_NAMES.get(self._controller.runtime, "STOPPED")} <unnamed>'

    def _robot_mode(self) -> str:
        return f'Robotmode: {self._controller.robot.safety.robot_mode.name}'

    def _safety_mode(self) -> str:
        return f'Safetymode: {self._controller.robot.safety.mode.name}'

    def _safety_status(self) -> str:
        return f'Safetystatus: {self._controller.robot.safety.mode.name}'

    def _unlock(self) -> str:
        safety = self._controller.robot.safety
        if safety.unlock(self._controller.robot.now):
            return 'Protective stop releasing'
        return (
            f'Cannot unlock protective stop until {safety.unlock_delay:g}s after occurrence. '
            'Always inspect cause of protective stop before unlocking'
        )

    def _power_on(self) -> str:
        self._controller.robot.safety.power_on()
        return 'Powering on'

    def _power_off(self) -> str:
        self._controller.power_off()
        return 'Powering off'

    def _brake_release(self) -> str:
        self._controller.robot.safety.brake_release()
        return 'Brake releasing'

    def _restart_safety(self) -> str:
        self._controller.robot.safety.restart()
        return 'Restarting safety'

    def _version(self) -> str:
        return 'URSoftware ' + '.'.join(map(str, self._controller.settings.version))

    def _model(self) -> str:
        return 'UR5'

    def _remote(self) -> str:
        return 'true' if self._controller.faults.remote_control else 'false'
