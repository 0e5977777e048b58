# SPDX-License-Identifier: Apache-2.0
"""Rows of a mixed layer that stay at 16 bits, whatever type the rest of the model has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from sqil_ros.engine.library import library
from sqil_ros.engine.tiles import Weights, rows_from_tiles, tiles_from_rows
from sqil_ros.quant.packing import row_bytes

_BITS = 16


class KeptRows(nn.Module):
    """A bfloat16 matrix, in the engine's layout where the engine is at hand.

    Attributes:
        packed: uint8 storage.
    """

    packed: Tensor

    def __init__(self, weight: Tensor) -> None:
        """Keep (n, in) bfloat16 rows."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self._in_tiles = False
        self.register_buffer('packed', _rows_of(weight))
        self._arrange()

    @property
    def weight(self) -> Tensor:
        """(n, in) bfloat16."""
        rows = self.packed
        if self._in_tiles:
            rows = rows_from_tiles(rows, self.out_features, self.in_features, _BITS)
        return rows.view(torch.bfloat16)[:, : self.in_features]

    @property
    def tiles(self) -> Weights | None:
        """What the engine multiplies with; None where it cannot."""
        if not self._in_tiles:
            return None
        return Weights(self.packed, _BITS, self.out_features, self.in_features)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., n)."""
        return linear(x, self.weight.to(x.dtype))

    def _arrange(self) -> None:
        """Into tiles on a CPU with the engine, into plain rows elsewhere."""
        wanted = self.packed.device.type == 'cpu' and library() is not None
        if wanted and not self._in_tiles:
            tiles = tiles_from_rows(self.packed, self.out_features, self.in_features, _BITS)
            self.packed = tiles.view(torch.uint8)
        self._in_tiles = wanted

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> KeptRows:
        weight = self.weight
        super()._apply(fn, recurse)  # leaves integers alone, but may move them
        self.packed, self._in_tiles = _rows_of(weight.to(self.packed.device)), False
        self._arrange()
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[f'{prefix}packed'] = _rows_of(self.weight)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any
    ) -> None:
        key = f'{prefix}packed'
        plain = dict(state_dict)
        if key in plain and self._in_tiles:
            rows = plain[key]
            tiles = tiles_from_rows(rows, self.out_features, self.in_features, _BITS)
            plain[key] = tiles.view(torch.uint8)
        super()._load_from_state_dict(plain, prefix, *arguments)


def _rows_of(weight: Tensor) -> Tensor:
    """(n, in) to (n, bytes) uint8, whole words as in :mod:`sqil_ros.quant.packing`."""
    rows = weight.to(torch.bfloat16).contiguous().view(torch.uint8)
    return pad(rows, (0, row_bytes(weight.shape[1], _BITS) - rows.shape[1])).contiguous()
