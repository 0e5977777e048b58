# SPDX-License-Identifier: Apache-2.0
"""Uploaded URScript: cut the stream into programs and read the few things that matter in them.

The emulator does not interpret URScript. It recognises ur_rtde's control program by its greeting,
takes the register offset and the injected path from it, and of any other program it carries out
the straight-line statements it knows, once and in order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqil_ros.errors import SqilError

MAX_PROGRAM_BYTES = 1 << 20
CONTROL_GREETING = 'control script loaded'

_BEGIN = re.compile(r'^(def|sec)\s+(\w+)\s*\(.*\)\s*:\s*$')
_INT_OFFSET = re.compile(r'# int register offset\s*\n\s*(\d+)')
_PATH_MARK = '# inject move path'
_CALL = re.compile(r'^\s*(\w+)\s*\((.*)\)\s*(?:#.*)?$')
_VECTOR = re.compile(r'(p?)\s*\[([^\]]*)\]')
_KEYWORD = re.compile(r'\b([avrt])\s*=\s*([^,\s)]+)')
_MOVES = ('movej', 'movel', 'movep')


class ScriptError(SqilError):
    """An upload that no controller would run."""


@dataclass(frozen=True)
class MoveStatement:
    """``movej(...)``, ``movel(...)`` or ``movep(...)`` with literal arguments.

    Attributes:
        name: function called.
        target: six numbers, joint angles [rad] or a pose [m, rotation vector].
        is_pose: whether ``target`` is a pose.
        speed: leading-axis or tool speed.
        acceleration: leading-axis or tool acceleration.
    """

    name: str
    target: tuple[float, ...]
    is_pose: bool
    speed: float
    acceleration: float


@dataclass(frozen=True)
class RegisterStatement:
    """``write_output_integer_register`` or ``write_output_float_register``."""

    register: int
    value: float
    is_int: bool


@dataclass(frozen=True)
class SleepStatement:
    """``sleep(seconds)``."""

    seconds: float


Statement = MoveStatement | RegisterStatement | SleepStatement


@dataclass(frozen=True)
class ProgramText:
    """A program as uploaded.

    Attributes:
        name: its name, empty for a single line.
        secondary: a ``sec`` program, which runs beside the main one.
        is_control: ur_rtde's control program.
        offset: its register offset, 0 or 24.
        statements: injected path of a control program, else the statements understood.
    """

    name: str
    secondary: bool
    is_control: bool
    offset: int
    statements: tuple[Statement, ...]


class ScriptReader:
    """Cuts what arrives on the script port into programs."""

    def __init__(self) -> None:
        self._rest = b''
        self._lines: list[str] = []

    def feed(self, data: bytes) -> list[ProgramText]:
        """Take bytes as they arrive; return the programs completed by them.

        Raises:
            ScriptError: a program grows beyond ``MAX_PROGRAM_BYTES`` or is malformed.
        """
        *complete, self._rest = (self._rest + data).split(b'\n')
        programs = []
        for raw in complete:
            line = raw.decode('utf-8', errors='replace').rstrip('\r')
            if self._lines:
                self._lines.append(line)
                if line.rstrip() == 'end':
                    programs.append(parse_program(self._lines))
                    self._lines = []
            elif _BEGIN.match(line):
                self._lines = [line]
            elif line.strip():
                programs.append(parse_program([line]))
        pending = len(self._rest) + sum(map(len, self._lines))
        if pending > MAX_PROGRAM_BYTES:
            self._rest, self._lines = b'', []
            raise ScriptError(
                f'A program of {pending} bytes without an end; the limit is {MAX_PROGRAM_BYTES}.'
            )
        return programs


def parse_program(lines: list[str]) -> ProgramText:
    """Read a program: ``def`` or ``sec`` to ``end``, or one single line.

    Raises:
        ScriptError: a statement that is understood has unreadable arguments.
    """
    text = '\n'.join(lines)
    begin = _BEGIN.match(lines[0])
    name = begin.group(2) if begin else ''
    secondary = begin is not None and begin.group(1) == 'sec'
    if CONTROL_GREETING in text.lower():
        offset = _INT_OFFSET.search(text)
        path = text.partition(_PATH_MARK)[2].split('\n')[1:]
        body = path[: next((i for i, line in enumerate(path) if line.strip() == 'end'), 0)]
        return ProgramText(
            name, secondary, True, int(offset.group(1)) if offset else 0, _statements(body)
        )
    return ProgramText(name, secondary, False, 0, _statements(lines[1:] if begin else lines))


def _statements(lines: list[str]) -> tuple[Statement, ...]:
    found = []
    for line in lines:
        call = _CALL.match(line)
        statement = _statement(call.group(1), call.group(2)) if call else None
        if statement is not None:
            found.append(statement)
    return tuple(found)


def _statement(name: str, arguments: str) -> Statement | None:
    """The statement ``name(arguments)``, None if the emulator has no use for it."""
    try:
        if name in _MOVES:
            return _move(name, arguments)
        if name == 'sleep':
            return SleepStatement(_number(arguments))
        if name in ('write_output_integer_register', 'write_output_float_register'):
            register, value = arguments.split(',')
            is_int = name == 'write_output_integer_register'
            return RegisterStatement(int(_number(register)), _number(value), is_int)
    except ValueError as error:
        raise ScriptError(
            f'{name}({arguments}) has arguments other than literal numbers; the emulator does '
            'not interpret URScript.'
        ) from error
    return None


def _move(name: str, arguments: str) -> MoveStatement:
    vector = _VECTOR.search(arguments)
    if vector is None:
        raise ValueError(arguments)
    target = tuple(float(value) for value in vector.group(2).split(','))
    if len(target) != 6:
        raise ValueError(arguments)
    given = {key: float(value) for key, value in _KEYWORD.findall(arguments)}
    joint = name == 'movej'
    return MoveStatement(
        name,
        target,
        vector.group(1) == 'p',
        given.get('v', 1.05 if joint else 0.25),
        given.get('a', 1.4 if joint else 1.2),
    )


def _number(text: str) -> float:
    """A literal or a sum of literals: ur_rtde writes the register as ``0 +24``."""
    return sum(float(part) for part in text.split('+') if part.strip())
