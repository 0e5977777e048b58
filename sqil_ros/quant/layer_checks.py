# SPDX-License-Identifier: Apache-2.0
"""Do the tensors of a packed layer belong together? Asked before anything is kept."""

from __future__ import annotations

import torch
from torch import Tensor

from sqil_ros.errors import ProfileError
from sqil_ros.quant.activations import Inputs, check_width
from sqil_ros.quant.back_ends import LayerShape
from sqil_ros.quant.mixed_rows import KEPT, ROW_WIDTHS, MixedRows, check_row_bits
from sqil_ros.quant.packing import row_bytes
from sqil_ros.quant.primitives import Steps, code_range

_MEND = 'Write the profile again with sqil-quantize.'


def check_layer(packed: Tensor, steps: Steps, bias: Tensor | None, shape: LayerShape) -> None:
    """Refuse portable rows, steps and a bias that do not make a layer of a shape.

    Raises:
        ProfileError: a tensor has another shape or type, or a scale is not a positive number.
    """
    expected = (shape.out_features, row_bytes(shape.in_features, shape.bits))
    if tuple(packed.shape) != expected or packed.dtype != torch.uint8:
        raise ProfileError(
            f'packed weights are {tuple(packed.shape)} {packed.dtype}; {shape.bits} bits for '
            f'({shape.out_features}, {shape.in_features}) need {expected} uint8. {_MEND}'
        )
    _check_scale(steps.scale, shape)
    if steps.zero is not None:
        _check_zero(steps.zero, steps.scale, shape.bits)
    check_bias(bias, shape.out_features)


def check_bias(bias: Tensor | None, out_features: int) -> None:
    """Refuse a bias of another length.

    Raises:
        ProfileError: saying both.
    """
    if bias is not None and tuple(bias.shape) != (out_features,):
        raise ProfileError(
            f'the bias has shape {tuple(bias.shape)}; {out_features} outputs need as many.'
        )


def check_rows(rows: MixedRows) -> None:
    """Refuse bands that are not the rows of the widths which a mixed layer names.

    Raises:
        ParameterError: a width does not exist.
        ProfileError: a band is missing, not asked for, or has another shape.
    """
    check_row_bits(rows.row_bits)
    found = {bits: tuple(band.codes.shape) for bits, band in rows.bands.items()}
    if rows.kept is not None:
        found[KEPT] = tuple(rows.kept.shape)
    for bits in ROW_WIDTHS[1:]:
        count = int((rows.row_bits == bits).sum())
        wanted = (count, rows.in_features) if count else None
        if found.get(bits) != wanted:
            raise ProfileError(
                f'the rows of {bits} bits are {found.get(bits)}, the widths of the layer promise '
                f'{wanted}. {_MEND}'
            )


def check_inputs(inputs: Inputs | None) -> None:
    """Refuse inputs of an unknown width, or with a static step that is none.

    Raises:
        ParameterError: the width is not supported.
        ProfileError: the step is no positive number.
    """
    if inputs is None:
        return
    check_width(inputs.bits)
    if (step := inputs.step) is None:
        return
    if step.ndim or not (step.is_meta or bool(torch.isfinite(step) & (step > 0))):
        raise ProfileError(f'the step of the inputs is {step}; one positive number is needed.')


def check_adapter(down: Tensor, up: Tensor, shape: LayerShape) -> None:
    """Refuse a low-rank change that does not belong to a layer of a shape.

    Raises:
        ProfileError: a matrix has another shape, or a value is not finite.
    """
    rank = len(down)
    wanted = ((rank, shape.in_features), (shape.out_features, rank))
    if (tuple(down.shape), tuple(up.shape)) != wanted or rank == 0:
        raise ProfileError(
            f'a low-rank change of {tuple(up.shape)} times {tuple(down.shape)} does not fit a '
            f'layer of ({shape.out_features}, {shape.in_features}); use that of this profile.'
        )
    if not down.is_meta and not bool(torch.isfinite(down).all() and torch.isfinite(up).all()):
        raise ProfileError('a low-rank change is not finite; export a run that has not diverged.')


def _check_scale(scale: Tensor, shape: LayerShape) -> None:
    fits = scale.ndim in (1, 2) and scale.shape[0] == shape.out_features
    even = shape.groups > 0 and shape.in_features % shape.groups == 0
    if not fits or not even or not scale.dtype.is_floating_point:
        raise ProfileError(
            f'scales are {tuple(scale.shape)} {scale.dtype}; one float per output row, or per '
            f'row and equal run of the {shape.in_features} inputs, is needed. {_MEND}'
        )
    if not scale.is_meta and not bool((torch.isfinite(scale) & (scale > 0)).all()):
        raise ProfileError(
            'a scale is not a positive number; write the profile again with sqil-quantize'
        )


def _check_zero(zero: Tensor, scale: Tensor, bits: int) -> None:
    lowest, highest = code_range(bits)
    if zero.shape != scale.shape or zero.dtype != torch.int8:
        raise ProfileError(
            f'zero points are {tuple(zero.shape)} {zero.dtype}; the scales need '
            f'{tuple(scale.shape)} int8. {_MEND}'
        )
    if not zero.is_meta and not bool(((zero >= lowest) & (zero <= highest)).all()):
        raise ProfileError(
            f'a zero point lies outside {lowest} to {highest}, the codes of {bits} bits. {_MEND}'
        )
