# SPDX-License-Identifier: Apache-2.0
"""Finds and opens the engine's library, or says once why it cannot be used."""

from __future__ import annotations

import ctypes
import logging
import os
from functools import lru_cache
from pathlib import Path

from sqil_ros.engine.structures import INTERFACE, SIGNATURES
from sqil_ros.errors import EngineError

LEVELS = ('avx512bf16', 'avx512vnni', 'avx512', 'avxvnni', 'avx2', 'portable')
# For tests and sanitizers: another build, and a level of the list or ``none`` for no engine.
LIBRARY_VARIABLE = 'SQIL_ENGINE_LIBRARY'
LEVEL_VARIABLE = 'SQIL_ENGINE_LEVEL'
_BUILT = Path(__file__).with_name('libsqil_engine.so')
_LOG = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The library, opened once; None after one warning where there is no usable one."""
    if os.environ.get(LEVEL_VARIABLE) == 'none':
        return None
    try:
        return _opened(_path())
    except EngineError as error:
        _LOG.warning('torch computes instead of the engine: %s', error)
        return None


def require_library() -> ctypes.CDLL:
    """The library.

    Raises:
        EngineError: there is no usable one.
    """
    found = library()
    if found is None:
        raise EngineError(f'{_path()} cannot be used; build it with `make setup`.')
    return found


def level() -> str:
    """The instruction set that computes, one of ``LEVELS``; empty without a library."""
    found = library()
    return '' if found is None else found.sqil_level().decode()


def choose_level(name: str) -> None:
    """Compute with one of ``LEVELS`` from now on, in the whole process.

    Raises:
        EngineError: this machine or the library lacks it.
    """
    _choose(require_library(), name)


def _path() -> Path:
    return Path(os.environ.get(LIBRARY_VARIABLE, _BUILT))


def _choose(opened: ctypes.CDLL, name: str) -> None:
    if opened.sqil_choose_level(name.encode()):
        raise EngineError(
            f'the engine has no level {name!r} on this machine; choose one of {LEVELS} that the '
            'processor has.'
        )


def _opened(path: Path) -> ctypes.CDLL:
    if not path.is_file():
        raise EngineError(f'{path} does not exist; build it with `make setup`.')
    try:
        opened = ctypes.CDLL(str(path))
        interface = int(opened.sqil_interface())
    except (OSError, AttributeError) as error:
        raise EngineError(f'{path} does not load ({error}); run `make setup` again.') from error
    if interface != INTERFACE:
        raise EngineError(
            f'{path} has interface {interface}, this package speaks {INTERFACE}; run `make setup` '
            'again.'
        )
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(opened, name)
        function.restype, function.argtypes = result, arguments
    if forced := os.environ.get(LEVEL_VARIABLE):
        _choose(opened, forced)
    return opened
