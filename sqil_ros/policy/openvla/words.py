# SPDX-License-Identifier: Apache-2.0
"""What the engine is fed for words: rows of the embedding."""

from __future__ import annotations

import torch
from torch import Tensor

from sqil_ros.errors import EngineError
from sqil_ros.memory import in_a_file, let_go


class Words:
    """The embedding of words, of which a prompt needs a few rows.

    An instruction is told again and again, so the rows of the last one are kept. Where the table
    lies in a file, nothing else of it stays in memory.
    """

    def __init__(self, table: Tensor) -> None:
        """Read from a (vocabulary, width) ``table``, which must stay as it is."""
        self._table = table.detach()
        self._in_a_file = in_a_file(self._table)
        self._tokens = torch.empty(0, dtype=torch.int64)
        self._rows = self._table.new_empty(0, table.shape[1], dtype=torch.float32)

    def rows(self, tokens: Tensor) -> Tensor:
        """(L,) ids to (L, width) float32.

        Raises:
            EngineError: a token does not exist.
        """
        if not torch.equal(tokens, self._tokens):
            self._rows, self._tokens = self._read(tokens), tokens.clone()
        return self._rows

    def _read(self, tokens: Tensor) -> Tensor:
        lowest, highest = (int(found) for found in tokens.aminmax()) if len(tokens) else (0, 0)
        if lowest < 0 or highest >= len(self._table):
            raise EngineError(
                f'the prompt has tokens from {lowest} to {highest}, the policy knows 0 to '
                f"{len(self._table) - 1}; use the checkpoint's own tokenizer."
            )
        rows = self._table[tokens].float()
        if self._in_a_file:
            let_go(self._table)
        return rows
