# SPDX-License-Identifier: Apache-2.0
"""The tensors of a safetensors file, taken out one by one: a large file is never in memory whole.

A tensor that is taken out has memory of its own. A table, of which a control step reads a few rows
(the embedding of words), may stay in the file instead: only the rows that were read are in memory,
and the system can have them back. The file must then stay as it is; a profile is replaced by
renaming, which leaves the old file to whoever reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sqil_ros.errors import ProfileError
from sqil_ros.quant.manifest import MEND


class TensorFile:
    """A file that is open for reading; every tensor can be taken out once."""

    def __init__(self, path: Path, tables: Collection[str] = ()) -> None:
        """Open a file.

        Args:
            path: of a safetensors file.
            tables: tensors that stay in the file.

        Raises:
            ProfileError: it is no such file.
        """
        self._files = ExitStack()
        try:
            # A mapping of its own: the pages of all that is read through another stay with it.
            self._file, self._tables = (self._files.enter_context(_opened(path)) for _ in range(2))
            self._left = set(self._file.keys())
        except (OSError, SafetensorError) as error:
            self._files.close()
            raise ProfileError(f'{path} is no safetensors file ({error}). {MEND}') from error
        self._in_place = frozenset(tables)

    def __enter__(self) -> TensorFile:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; tables stay readable."""
        self._files.close()

    def __contains__(self, name: str) -> bool:
        """Whether it is still in the file."""
        return name in self._left

    def __len__(self) -> int:
        """How many were not taken out."""
        return len(self._left)

    def __iter__(self) -> Iterator[str]:
        """Names of those that were not taken out."""
        return iter(sorted(self._left))

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor that is still in the file."""
        return tuple(self._file.get_slice(name).get_shape())

    def pop(self, name: str) -> Tensor:
        """Take a tensor out."""
        self._left.remove(name)
        if name in self._in_place:
            return self._tables.get_tensor(name)
        return self._file.get_tensor(name).clone()


def _opened(path: Path) -> Any:
    return safe_open(path, framework='pt')
