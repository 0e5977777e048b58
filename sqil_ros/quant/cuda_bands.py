# SPDX-License-Identifier: Apache-2.0
"""A layer whose rows have widths of their own, on a GPU."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sqil_ros.quant.activations import Inputs, rounded
from sqil_ros.quant.cuda import Cuda, known_types
from sqil_ros.quant.kept_rows import KeptRows
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.mixed_rows import KEPT, PRUNED, places_of
from sqil_ros.quant.primitives import Steps

_ALIGNED = 16  # rows of a band begin on such a number, as vector loads want


class CudaBands:
    """All bands in one launch for few rows of activations, in one launch each for many.

    Packed words stay where the bands hold them; scales, zero points and places are copies, in the
    order of bands.
    """

    def __init__(
        self, row_bits: Tensor, bands: Mapping[int, nn.Module], bias: Tensor | None
    ) -> None:
        """Lay down which program computes which rows.

        Args:
            row_bits: (out,) widths.
            bands: of :func:`usable`.
            bias: (out,) or None.
        """
        self._outputs, self._bias = len(row_bits), bias
        self._bands: dict[int, PackedLinear | KeptRows] = {
            bits: band
            for bits, band in bands.items()
            if isinstance(band, (PackedLinear, KeptRows))
        }
        widths = [*bands, PRUNED] if bool((row_bits == PRUNED).any()) else [*bands]
        self._places = {bits: places_of(row_bits, bits).to(torch.int32) for bits in widths}
        self._one_launch = all(
            band.shape.groups == 1 for band in bands.values() if isinstance(band, PackedLinear)
        )
        kept = bands.get(KEPT)
        self._kept = kept.weight if isinstance(kept, KeptRows) else None
        if self._one_launch:
            self._tables(widths, row_bits.device)

    def multiply(self, x: Tensor, inputs: Inputs | None) -> Tensor:
        """(..., in) activations to (..., out) in their own dtype."""
        from sqil_ros.quant.triton_kernels.products import FEW

        dtype = x.dtype if x.dtype in known_types() else torch.float32
        rows = x.reshape(-1, x.shape[-1])
        if len(rows) <= FEW and self._one_launch:
            y = self._few(rounded(x, inputs).reshape(rows.shape).to(dtype).contiguous())
        else:
            y = self._many(x, rows.to(dtype).contiguous(), inputs)
        return y.to(x.dtype).view(*x.shape[:-1], self._outputs)

    def _few(self, rows: Tensor) -> Tensor:
        from sqil_ros.quant.triton_kernels.mixed_products import mixed_product

        y = rows.new_empty(len(rows), self._outputs)
        words = {bits: self._words(bits) for bits in self._bands if bits != KEPT}
        mixed_product(
            rows, self._tiles, words, self._kept, self._steps, self._order, self._bias, y
        )
        return y

    def _many(self, x: Tensor, rows: Tensor, inputs: Inputs | None) -> Tensor:
        from sqil_ros.quant.triton_kernels import products

        y = rows.new_zeros(len(rows), self._outputs)
        if self._bias is not None:
            y += self._bias.to(y.dtype)
        rounds = inputs is not None and inputs.meant_for(x)
        if rounds:
            assert inputs is not None
            codes, step = products.round_activations(rows, inputs.bits, inputs.step)
        for bits, band in self._bands.items():
            places = self._places[bits]
            if isinstance(band, KeptRows):
                assert self._kept is not None
                seen = (rounded(x, inputs) if rounds else x).reshape(rows.shape).to(y.dtype)
                kept = torch.nn.functional.linear(seen, self._kept.to(y.dtype))
                y.index_add_(1, places, kept)
                continue
            steps, words = Steps(band.scale, band.zero), self._words(bits)
            if rounds:
                products.product_of_codes(
                    codes, step, words, steps, self._bias, band.shape, y.dtype, places, y
                )
            else:
                products.product(rows, words, steps, self._bias, band.shape, places, y)
        return y

    def _words(self, bits: int) -> Tensor:
        band = self._bands[bits]
        return band.packed.view(torch.int32)

    def _tables(self, widths: list[int], device: torch.device) -> None:
        from sqil_ros.quant.triton_kernels.mixed_rows import TILE_ROWS

        tiles: list[tuple[int, int, int, int]] = []
        scales, zeros, places = [], [], []
        start = 0
        # The widest first: what takes longest for its bytes must not come last.
        for bits in sorted(widths, reverse=True):
            count, size = len(self._places[bits]), TILE_ROWS[bits]
            tiles += [(bits, f, min(size, count - f), start + f) for f in range(0, count, size)]
            room = -(-count // _ALIGNED) * _ALIGNED
            band = self._bands.get(bits)
            steps = (band.scale, band.zero) if isinstance(band, PackedLinear) else (None, None)
            scales.append(_filled(steps[0], room, device))
            zeros.append(_filled(steps[1], room, device))
            places.append(_filled(self._places[bits], room, device))
            start += room
        zero = None
        if any(isinstance(b, PackedLinear) and b.zero is not None for b in self._bands.values()):
            zero = torch.cat(zeros).to(torch.int8)
        self._tiles = torch.tensor(tiles, dtype=torch.int32, device=device)
        self._steps = Steps(torch.cat(scales), zero)
        self._order = torch.cat(places).to(torch.int32)


def usable(bands: Mapping[int, nn.Module], device: torch.device) -> bool:
    """Whether the GPU's kernels hold every packed band."""
    packed = [band for band in bands.values() if isinstance(band, PackedLinear)]
    wanted = bool(packed) or device.type == 'cuda'
    return wanted and all(band.back_end == Cuda.name for band in packed)


def _filled(values: Tensor | None, room: int, device: torch.device) -> Tensor:
    """(room,) float32, with zeros behind; places below 2^24 are exact."""
    filled = torch.zeros(room, device=device)
    if values is not None:
        filled[: values.numel()] = values.flatten().float()
    return filled
