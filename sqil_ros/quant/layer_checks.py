# SPDX-License-Identifier: Apache-2.0
"""Do the tensors of a packed layer belong together? Asked before anything is kept."""

from __future__ import annotations

import torch
from torch import Tensor

from sqil_ros.errors import ProfileError
from sqil_ros.quant.activations import check_width
from sqil_ros.quant.back_ends import LayerShape
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
    if bias is not None and tuple(bias.shape) != (shape.out_features,):
        raise ProfileError(
            f'the bias has shape {tuple(bias.shape)}; {shape.out_features} outputs need as many.'
        )


def check_activations(bits: int | None, step: Tensor | None) -> None:
    """Refuse activations of an unknown width, or a static step that is none.

    Raises:
        ParameterError: the width is not supported.
        ProfileError: the step is no positive number, or nobody uses it.
    """
    if bits is not None:
        check_width(bits)
    if step is None:
        return
    if bits is None:
        raise ProfileError(f'a layer of floating-point inputs has a step for them. {_MEND}')
    if step.ndim or not (step.is_meta or bool(torch.isfinite(step) & (step > 0))):
        raise ProfileError(f'the step of the inputs is {step}; one positive number is needed.')


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
