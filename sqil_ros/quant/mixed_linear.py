# SPDX-License-Identifier: Apache-2.0
"""A linear layer whose rows have widths of their own, really packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sqil_ros.engine.tiles import Weights, multiply
from sqil_ros.quant.activations import Inputs, rounded
from sqil_ros.quant.back_ends import AUTO
from sqil_ros.quant.cpu import input_codes
from sqil_ros.quant.cuda_bands import CudaBands, usable
from sqil_ros.quant.kept_rows import KeptRows
from sqil_ros.quant.layer_checks import check_bias, check_inputs, check_rows
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.mixed_rows import (
    KEPT,
    PRUNED,
    MixedRows,
    dequantize_rows,
    places_of,
)


class MixedLinear(nn.Linear):
    """Bands of packed rows that answer together, each row in its place.

    Attributes:
        row_bits: (out,) uint8, the width of every row.
        bands: the rows of every width above 0: ``PackedLinear`` or, at 16 bits, ``KeptRows``.
        bias: (out,) or None.
        input_rule: how inputs are rounded, None for inputs in floating point.
        input_step: () static step of the inputs, None for a step per token.
    """

    row_bits: Tensor
    input_step: Tensor | None
    bias: nn.Parameter | None  # type: ignore[assignment]

    def __init__(
        self,
        rows: MixedRows,
        bias: Tensor | None = None,
        back_end: str = AUTO,
        inputs: Inputs | None = None,
    ) -> None:
        """Pack rows.

        Args:
            rows: integers, and what is kept at 16 bits.
            bias: (out,) or None.
            back_end: of the packed bands.
            inputs: how they are rounded; None for inputs in floating point.

        Raises:
            ProfileError: the parts do not belong together, or a back-end cannot serve a band.
            ParameterError: a width does not exist.
        """
        nn.Module.__init__(self)
        check_rows(rows)
        check_inputs(inputs)
        self.in_features, self.out_features = rows.in_features, len(rows.row_bits)
        check_bias(bias, self.out_features)
        self.input_rule = None if inputs is None else inputs.rule
        self.register_buffer('row_bits', rows.row_bits)
        self.register_buffer('input_step', None if inputs is None else inputs.step)
        self.bands = nn.ModuleDict()
        for bits, quantized in rows.bands.items():
            self.bands[str(bits)] = PackedLinear.from_quantized(quantized, None, back_end)
        if rows.kept is not None:
            self.bands[str(KEPT)] = KeptRows(rows.kept)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self._cuda_bands: CudaBands | None = None
        self.train(False)

    @property
    def rows(self) -> MixedRows:
        """What the layer was made of."""
        bands = {int(b): p.quantized for b, p in self.bands.items() if isinstance(p, PackedLinear)}
        kept = next((k.weight for k in self.bands.values() if isinstance(k, KeptRows)), None)
        return MixedRows(self.row_bits, self.in_features, bands, kept)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(out, in) weights, computed anew at every access."""
        return dequantize_rows(self.rows)

    @property
    def inputs(self) -> Inputs | None:
        """How the inputs are rounded."""
        return None if self.input_rule is None else self.input_rule.inputs(self.input_step)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out) in the dtype of ``x``; differentiable in ``x``."""
        if x.shape[-1] != self.in_features:
            raise ValueError(f'input of {x.shape[-1]} features, the layer has {self.in_features}')
        learns = x.requires_grad and torch.is_grad_enabled()
        if not learns and (bands := self._on_gpu()) is not None:
            return bands.multiply(x, self.inputs)
        chain = None if learns else self.chain()
        if chain is not None:
            rows = x.reshape(-1, self.in_features).float()
            codes = input_codes(self.inputs, x.dtype, x)
            y = multiply(rows, chain, torch.get_num_threads(), codes)
            return y.to(x.dtype).view(*x.shape[:-1], self.out_features)
        seen = rounded(x, self.inputs)
        y = x.new_zeros(*x.shape[:-1], self.out_features)
        for bits, band in self.bands.items():
            y[..., places_of(self.row_bits, int(bits))] = band(seen)
        return y if self.bias is None else y + self.bias.to(x.dtype)

    def chain(self) -> list[Weights] | None:
        """The bands as one layer of the engine, sharing their memory; None where it cannot."""
        chain = []
        for bits, band in self.bands.items():
            assert isinstance(band, (PackedLinear, KeptRows))
            if (weights := band.tiles) is None:
                return None
            chain.append(self._placed(weights, int(bits)))
        if bool((self.row_bits == PRUNED).any()):
            count = int((self.row_bits == PRUNED).sum())
            nothing = Weights(torch.empty(0), PRUNED, count, self.in_features)
            chain.append(self._placed(nothing, PRUNED))
        return chain

    def _on_gpu(self) -> CudaBands | None:
        """The bands as one layer of the GPU's kernels; None where these do not compute."""
        if self._cuda_bands is None:
            bands = {int(bits): band for bits, band in self.bands.items()}
            if usable(bands, self.row_bits.device):
                self._cuda_bands = CudaBands(self.row_bits, bands, self.bias)
        return self._cuda_bands

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MixedLinear:
        super()._apply(fn, recurse)
        self._cuda_bands = None  # it holds tensors of the device that was
        return self

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._cuda_bands = None

    def _placed(self, weights: Weights, bits: int) -> Weights:
        places = places_of(self.row_bits, bits)
        bias = None if self.bias is None else self.bias[places].float()
        return weights._replace(places=places.to(torch.int32), bias=bias)

    def reset_parameters(self) -> None:
        """Nothing: the integers come from a profile."""

    def extra_repr(self) -> str:
        """Sizes for ``print(model)``."""
        mean = float(self.row_bits.float().mean())
        return f'{self.in_features}, {self.out_features}, {mean:.2f} bits on average'
