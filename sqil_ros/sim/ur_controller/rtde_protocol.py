# SPDX-License-Identifier: Apache-2.0
"""RTDE version 2 on the wire: framing, value types and recipes, as pure functions.

Source: Universal Robots' Real-Time Data Exchange guide. Everything is big-endian; a package is a
uint16 total length, a type letter and a body.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property

from sqil_ros.errors import SqilError

HEADER = struct.Struct('>HB')
PROTOCOL_VERSION = 2

Scalar = float | int | bool
Value = Scalar | tuple[Scalar, ...]


class ProtocolError(SqilError):
    """Bytes that are not RTDE."""


class PackageType(IntEnum):
    """The type letter of a package."""

    PROTOCOL_VERSION = ord('V')
    CONTROLLER_VERSION = ord('v')
    TEXT_MESSAGE = ord('M')
    DATA = ord('U')
    SETUP_OUTPUTS = ord('O')
    SETUP_INPUTS = ord('I')
    START = ord('S')
    PAUSE = ord('P')


class FieldType(Enum):
    """A value type: its name on the wire, its struct letter and how many of those it holds."""

    DOUBLE = ('DOUBLE', 'd', 1)
    UINT64 = ('UINT64', 'Q', 1)
    UINT32 = ('UINT32', 'I', 1)
    INT32 = ('INT32', 'i', 1)
    UINT8 = ('UINT8', 'B', 1)
    BOOL = ('BOOL', '?', 1)
    VECTOR3D = ('VECTOR3D', 'd', 3)
    VECTOR6D = ('VECTOR6D', 'd', 6)
    VECTOR6INT32 = ('VECTOR6INT32', 'i', 6)

    def __init__(self, label: str, letter: str, count: int) -> None:
        self.label = label
        self.letter = letter
        self.count = count

    @property
    def zero(self) -> Value:
        """The value before anybody wrote one."""
        scalar: Scalar = {'d': 0.0, '?': False}.get(self.letter, 0)
        return scalar if self.count == 1 else (scalar,) * self.count


@dataclass(frozen=True)
class Recipe:
    """A fixed list of named fields that travel together in one data package."""

    number: int
    names: tuple[str, ...]
    types: tuple[FieldType, ...]

    @cached_property
    def _struct(self) -> struct.Struct:
        return struct.Struct('>B' + ''.join(f'{t.count}{t.letter}' for t in self.types))

    @property
    def size(self) -> int:
        """Bytes of a package body with this recipe."""
        return self._struct.size

    def pack(self, values: Mapping[str, Value]) -> bytes:
        """Body of a data package; ``values`` holds at least every name of the recipe."""
        flat: list[Scalar] = [self.number]
        for name in self.names:
            value = values[name]
            if isinstance(value, tuple):
                flat.extend(value)
            else:
                flat.append(value)
        return self._struct.pack(*flat)

    def unpack(self, body: bytes) -> dict[str, Value]:
        """Inverse of :meth:`pack`.

        Raises:
            ProtocolError: the body has another size or belongs to another recipe.
        """
        if len(body) != self.size or body[0] != self.number:
            raise ProtocolError(
                f'A package of {len(body)} bytes for recipe {body[0] if body else None} is not '
                f'the {self.size} bytes of recipe {self.number}; send the fields of its set-up.'
            )
        flat = self._struct.unpack(body)
        values: dict[str, Value] = {}
        at = 1
        for name, kind in zip(self.names, self.types, strict=True):
            values[name] = flat[at] if kind.count == 1 else flat[at : at + kind.count]
            at += kind.count
        return values


def encode_package(kind: int, body: bytes = b'') -> bytes:
    """A whole package: header and body."""
    return HEADER.pack(HEADER.size + len(body), kind) + body


class PackageReader:
    """Cuts a byte stream into packages, however the network split or joined it."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes as they arrive; return the packages completed by them as (type, body).

        Raises:
            ProtocolError: a header announces less than its own length.
        """
        self._buffer += data
        packages = []
        while len(self._buffer) >= HEADER.size:
            size, kind = HEADER.unpack_from(self._buffer)
            if size < HEADER.size:
                raise ProtocolError(
                    f'A package of {size} bytes is shorter than its header of {HEADER.size}; '
                    'is this an RTDE client?'
                )
            if len(self._buffer) < size:
                break
            packages.append((kind, bytes(self._buffer[HEADER.size : size])))
            del self._buffer[:size]
        return packages


def encode_names(names: Iterable[str]) -> bytes:
    """Names as a set-up request carries them: comma after each, the last one too."""
    return ''.join(f'{name},' for name in names).encode('ascii')


def decode_names(body: bytes) -> tuple[str, ...]:
    """Inverse of :func:`encode_names`; the trailing comma may be absent.

    Raises:
        ProtocolError: the names are not ASCII.
    """
    try:
        text = body.decode('ascii')
    except UnicodeDecodeError as error:
        raise ProtocolError(f'Field names {body[:40]!r} are not ASCII.') from error
    return tuple(name for name in text.split(',') if name)


def encode_output_setup(frequency: float, names: Iterable[str]) -> bytes:
    """Body of an output set-up request: frequency [Hz] and names."""
    return struct.pack('>d', frequency) + encode_names(names)


def decode_output_setup(body: bytes) -> tuple[float, tuple[str, ...]]:
    """Inverse of :func:`encode_output_setup`.

    Raises:
        ProtocolError: there is no frequency in front.
    """
    if len(body) < 8:
        raise ProtocolError(f'An output set-up of {len(body)} bytes has no frequency.')
    return struct.unpack('>d', body[:8])[0], decode_names(body[8:])
