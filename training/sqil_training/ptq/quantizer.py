# SPDX-License-Identifier: Apache-2.0
"""A method applied to a model: transform, then round layer by layer.

Every block is rounded on what the rounded blocks before it give (as GPTQ's authors do), so later
blocks make up for earlier ones where the method can.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from sqil_ros.errors import CalibrationError, ParameterError, ProfileError
from sqil_ros.quant.activations import Activations, InputRule, static_step
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.primitives import (
    Grid,
    Quantized,
    checked_weight,
    code_range,
    dequantize,
    group_count,
)
from sqil_training.ptq.architecture import stages
from sqil_training.ptq.method import Method, Options
from sqil_training.ptq.parts import bias_of, weight_of
from sqil_training.ptq.statistics import InputStatistics, Run, collect


@dataclass(frozen=True)
class LayerError:
    """Squared Frobenius norms of a weight's error and of the weight that was rounded."""

    error: float
    norm: float


@dataclass(frozen=True)
class Result:
    """A quantised model.

    Attributes:
        model: a copy whose function, before rounding, is that of the original; it gives
            everything that is not quantised, and its quantised layers hold rounded weights.
        layers: integer weights by layer.
        errors: of every layer.
        activations: how inputs are rounded, None for not at all.
    """

    model: nn.Module
    layers: Mapping[str, Quantized]
    errors: Mapping[str, LayerError]
    activations: Activations | None


def quantize_model(
    model: nn.Module,
    layers: Sequence[str],
    method: Method,
    options: Options,
    run: Run | None = None,
    inputs: InputRule | None = None,
    done: Callable[[], object] = lambda: None,
) -> Result:
    """Quantise a copy of a model.

    Args:
        model: left as it is.
        layers: names of the linear layers to round.
        method: of :data:`sqil_training.ptq.methods.METHODS`.
        options: grid and constants.
        run: calibration data, None where nothing needs them.
        inputs: how those of these layers are rounded, static steps being calibrated; None for
            inputs in floating point.
        done: called after every layer.

    Raises:
        CalibrationError: data are needed but missing, or not finite.
        ProfileError: a weight is not finite; the message names the layer.
        ParameterError: the grid does not fit a layer; the message names it.
    """
    if run is None and (method.needs_data or (inputs is not None and inputs.static)):
        raise CalibrationError(
            'the method or its static activations need calibration data, none were given; name '
            'an episode tree with --calibration'
        )
    for name in layers:
        _check_layer(model, name, options.grid)
    twin = copy.deepcopy(model).requires_grad_(False)
    if method.transform is not None:
        method.transform(twin, layers, options, run)
    quantized: dict[str, Quantized] = {}
    errors: dict[str, LayerError] = {}
    for stage in stages(twin, layers):
        seen: Mapping[str, InputStatistics] = {}
        if method.rounding_sees_inputs:
            assert run is not None
            seen = collect(twin, stage, run)
        for name in stage:
            quantized[name], errors[name] = _round(twin, name, method, seen.get(name), options)
            done()
    activations = None
    if inputs is not None:
        steps = None
        if inputs.static:
            assert run is not None
            steps = _static_steps(twin, layers, run, inputs.bits)
        activations = Activations(inputs.bits, steps, inputs.prompt_only)
    return Result(twin, {name: quantized[name] for name in layers}, errors, activations)


def packed_copy(
    result: Result, back_end: str, rest_dtype: torch.dtype = torch.float32
) -> nn.Module:
    """The model as a profile of it will run, with everything else rounded to ``rest_dtype``."""
    twin = copy.deepcopy(result.model)
    for parameter in twin.parameters():
        parameter.copy_(parameter.to(rest_dtype))
    activations = result.activations
    for name, quantized in result.layers.items():
        parent, _, child = name.rpartition('.')
        inputs = None if activations is None else activations.of(name)
        layer = PackedLinear.from_quantized(quantized, bias_of(twin, name), back_end, inputs)
        setattr(twin.get_submodule(parent), child, layer)
    return twin


def _check_layer(model: nn.Module, name: str, grid: Grid) -> None:
    """Refuse what cannot be rounded before minutes go into calibration."""
    try:
        code_range(grid.bits)
        weight = weight_of(model, name)
        group_count(weight.shape[1], grid.group_size)
        checked_weight(weight)
    except (ProfileError, ParameterError) as error:
        raise type(error)(f'layer {name}: {error}') from error


def _round(
    model: nn.Module,
    name: str,
    method: Method,
    inputs: InputStatistics | None,
    options: Options,
) -> tuple[Quantized, LayerError]:
    """Integers of a layer, whose weight takes their values."""
    held = weight_of(model, name)
    weight = held.detach().float()
    quantized = method.rounding(name, weight, inputs, options)
    rounded = dequantize(quantized)
    error = LayerError(float((weight - rounded).square().sum()), float(weight.square().sum()))
    held.copy_(rounded)
    return quantized, error


def _static_steps(
    model: nn.Module, layers: Sequence[str], run: Run, bits: int
) -> dict[str, float]:
    inputs = collect(model, layers, run, gram=False)
    return {name: static_step(float(inputs[name].peak.max()), bits) for name in layers}
