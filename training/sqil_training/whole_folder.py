# SPDX-License-Identifier: Apache-2.0
"""Folders that are there as a whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqil_ros.errors import ParameterError
from sqil_ros.quant.profile import install


def check_target(path: Path, marks: Sequence[str]) -> None:
    """Refuse to replace what an earlier run did not make.

    Args:
        path: where a folder is to be.
        marks: files by which such a folder is known, however damaged it is.

    Raises:
        ParameterError: there is a file, or a folder with other things in it.
    """
    if not path.exists():
        return
    ours = all((path / mark).is_file() for mark in marks)
    if not ours and not (path.is_dir() and not any(path.iterdir())):
        raise ParameterError(
            f'{path} exists and does not hold {" and ".join(marks)}, so it was not made by this '
            'command and would be lost; name another folder, or remove this one.'
        )


@contextmanager
def whole_folder(path: Path, marks: Sequence[str]) -> Iterator[Path]:
    """A folder to fill that takes the place of ``path`` when the block ends well.

    Until then, and for ever if the block raises (a full disk, Ctrl-C), ``path`` is what it was.

    Args:
        path: an earlier folder there is replaced.
        marks: see :func:`check_target`.

    Raises:
        ParameterError: ``path`` is something else.
    """
    check_target(path, marks)
    scratch = path.with_name(f'.{path.name}.partial')
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        install(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
