# SPDX-License-Identifier: Apache-2.0
"""Folders that are there as a whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqil_ros.errors import ParameterError
from sqil_ros.quant.profile import install


def check_target(path: Path, mark: str) -> None:
    """Refuse to replace what an earlier run did not make.

    Args:
        path: where a folder is to be.
        mark: file by which such a folder is known, however damaged the others are.

    Raises:
        ParameterError: there is a file, or a folder with other things in it.
    """
    if path.is_dir() and ((path / mark).is_file() or not any(path.iterdir())):
        return
    if path.exists():
        raise ParameterError(
            f'{path} exists and has no {mark}, so it would be lost and could not be made again; '
            'name another folder, or remove this one.'
        )


@contextmanager
def whole_folder(path: Path, mark: str) -> Iterator[Path]:
    """A folder to fill that takes the place of ``path`` when the block ends well.

    Until then, and for ever if the block raises (a full disk, Ctrl-C), ``path`` is what it was.

    Args:
        path: an earlier folder there is replaced.
        mark: see :func:`check_target`.

    Raises:
        ParameterError: ``path`` is something else.
    """
    check_target(path, mark)
    scratch = path.with_name(f'.{path.name}.partial')
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        install(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
