# SPDX-License-Identifier: Apache-2.0
"""What tests read back: counters since the start and peaks since the last question."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from sqil_ros.types import Array

COMMAND_NAMES = {
    1: 'moveJ', 2: 'moveJ_IK', 3: 'moveL', 4: 'moveL_FK', 6: 'forceMode', 7: 'forceModeStop',
    8: 'zeroFtSensor', 9: 'speedJ', 10: 'speedL', 11: 'servoJ', 12: 'servoC', 15: 'speedStop',
    16: 'servoStop', 17: 'setPayload', 24: 'servoL', 29: 'setTcp', 31: 'protectiveStop',
    33: 'stopL', 34: 'stopJ', 35: 'setWatchdog', 45: 'movePath', 255: 'stopScript',
}  # fmt: skip


class Statistics:
    """Counters and peaks.

    Attributes:
        cycles: control cycles run.
        late_cycles: cycles that began more than one period after they were due.
        worst_late_ms: the latest of them [ms].
        uploads: programs taken.
        refused_uploads: programs not taken.
        program_error: why a program ended last, empty if none failed.
    """

    def __init__(self) -> None:
        self.cycles = 0
        self.late_cycles = 0
        self.worst_late_ms = 0.0
        self.uploads = 0
        self.refused_uploads = 0
        self.program_error = ''
        self._commands: Counter[str] = Counter()
        self._peak_joint = 0.0
        self._peak_tcp = 0.0

    def count_command(self, number: int) -> None:
        """Count a data package that carries command ``number``."""
        self._commands[COMMAND_NAMES.get(number, str(number))] += 1

    def note_speed(self, qd: Array, tcp_speed: Array) -> None:
        """Keep the highest of the measured (6,) joint speeds and the TCP's linear speed."""
        self._peak_joint = max(self._peak_joint, float(np.abs(qd).max()))
        self._peak_tcp = max(self._peak_tcp, float(np.linalg.norm(tcp_speed[:3])))

    def report(self) -> dict[str, Any]:
        """Everything; the peaks start anew."""
        report = {
            'cycles': self.cycles,
            'late_cycles': self.late_cycles,
            'worst_late_ms': self.worst_late_ms,
            'uploads': self.uploads,
            'refused_uploads': self.refused_uploads,
            'program_error': self.program_error,
            'commands': dict(self._commands),
            'peak_joint_speed': self._peak_joint,
            'peak_tcp_speed': self._peak_tcp,
        }
        self._peak_joint = self._peak_tcp = 0.0
        return report
