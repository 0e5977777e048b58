# SPDX-License-Identifier: Apache-2.0
"""Digital and analogue outputs and the speed slider, as RTDE inputs set them."""

from __future__ import annotations

from collections.abc import Mapping

from sqil_ros.sim.ur_controller.rtde_protocol import Value

_DIGITAL_SHIFT = {'standard': 0, 'configurable': 8, 'tool': 16}


class Signals:
    """Output signals.

    Attributes:
        digital: bits 0-7 standard, 8-15 configurable, 16-17 tool.
        analog: the two standard analogue outputs, 0..1.
        slider: speed slider, 0..1.
    """

    def __init__(self) -> None:
        self.digital = 0
        self.analog = [0.0, 0.0]
        self.slider = 1.0

    def apply(self, written: Mapping[str, Value]) -> None:
        """Take over what one data package set; a mask says which values count."""
        for name, shift in _DIGITAL_SHIFT.items():
            mask = _number(written, f'{name}_digital_output_mask')
            value = _number(written, f'{name}_digital_output')
            self.digital = self.digital & ~(mask << shift) | (value & mask) << shift
        mask = _number(written, 'standard_analog_output_mask')
        for index in range(2):
            if mask >> index & 1:
                self.analog[index] = float(_scalar(written, f'standard_analog_output_{index}'))
        if _number(written, 'speed_slider_mask'):
            fraction = float(_scalar(written, 'speed_slider_fraction'))
            if 0.0 <= fraction <= 1.0:
                self.slider = fraction


def _scalar(written: Mapping[str, Value], name: str) -> float:
    value = written.get(name, 0)
    return 0.0 if isinstance(value, tuple) else value


def _number(written: Mapping[str, Value], name: str) -> int:
    return int(_scalar(written, name))
