# SPDX-License-Identifier: Apache-2.0
"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of ``path`` when the block ends well.

    Until then, and for ever if the block raises (a full disk, Ctrl-C), ``path`` is what it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f'{path.name}.new')
    try:
        with scratch.open('wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a power cut could keep the new name without its content
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
