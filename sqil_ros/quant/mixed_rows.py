# SPDX-License-Identifier: Apache-2.0
"""A weight matrix whose output rows have widths of their own: 0, 2, 3, 4, 8 or 16 bits.

QVLA (arXiv 2602.03782, section 3) gives every output channel a width by what its error does to the
action; 0 prunes the channel and 16 keeps it. Rows of one width are a band, in their own order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sqil_ros.errors import ParameterError
from sqil_ros.quant.primitives import (
    WHOLE_ROW,
    Grid,
    Quantized,
    checked_weight,
    dequantize,
    quantize,
)

PRUNED, KEPT = 0, 16
ROW_WIDTHS = (PRUNED, 2, 3, 4, 8, KEPT)


@dataclass(frozen=True)
class MixedRows:
    """A matrix in bands.

    Attributes:
        row_bits: (out,) uint8, each of :data:`ROW_WIDTHS`.
        in_features: length of a row.
        bands: integers of the rows of every width from 2 to 8 that occurs.
        kept: (n, in) bfloat16, the rows at 16 bits; None without any.
    """

    row_bits: Tensor
    in_features: int
    bands: Mapping[int, Quantized]
    kept: Tensor | None = None

    @property
    def mean_bits(self) -> float:
        """Bits a weight takes, without scales."""
        return float(self.row_bits.float().mean())


def places_of(row_bits: Tensor, bits: int) -> Tensor:
    """The outputs of a band: (n,) int64, rising."""
    return (row_bits == bits).nonzero()[:, 0]


def check_row_bits(row_bits: Tensor) -> None:
    """Refuse what is no list of widths.

    Raises:
        ParameterError: another shape, or a width that no row can have.
    """
    known = torch.isin(row_bits, torch.tensor(ROW_WIDTHS, device=row_bits.device))
    if row_bits.ndim != 1 or not bool(known.all()):
        found = sorted({int(bits) for bits in row_bits.flatten()})
        raise ParameterError(
            f'widths of rows are {tuple(row_bits.shape)} with {found}; one of {ROW_WIDTHS} for '
            'every row is needed.'
        )


def quantize_rows(
    weight: Tensor, row_bits: Tensor, group_size: int = WHOLE_ROW, symmetric: bool = True
) -> MixedRows:
    """Round every row to the nearest codes of its width.

    Args:
        weight: (out, in) floating point.
        row_bits: (out,) widths.
        group_size: inputs that share a scale.
        symmetric: False for a zero point beside every scale.

    Raises:
        ParameterError: a width does not exist, or there are not as many as rows.
        ProfileError: the weight is not a finite matrix.
    """
    weight = checked_weight(weight)
    check_row_bits(row_bits)
    if len(row_bits) != len(weight):
        raise ParameterError(f'{len(row_bits)} widths for {len(weight)} rows; give each row one.')
    row_bits = row_bits.to(torch.uint8)
    widths = sorted({int(bits) for bits in row_bits} - {PRUNED, KEPT})
    bands = {
        bits: quantize(weight[places_of(row_bits, bits)], Grid(bits, group_size, symmetric))
        for bits in widths
    }
    kept = weight[places_of(row_bits, KEPT)].bfloat16()
    return MixedRows(row_bits, weight.shape[1], bands, kept if len(kept) else None)


def dequantize_rows(rows: MixedRows, dtype: torch.dtype = torch.float32) -> Tensor:
    """The (out, in) weights that are meant: the inverse of :func:`quantize_rows`."""
    weight = torch.zeros(len(rows.row_bits), rows.in_features, device=rows.row_bits.device)
    for bits, quantized in rows.bands.items():
        weight[places_of(rows.row_bits, bits)] = dequantize(quantized)
    if rows.kept is not None:
        weight[places_of(rows.row_bits, KEPT)] = rows.kept.float()
    return weight.to(dtype)
