# SPDX-License-Identifier: Apache-2.0
"""Every method on a whole model: the same layers, whole profiles, named errors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sqil_training.ptq.architecture import blocks
from sqil_training.ptq.method import Options
from sqil_training.ptq.methods import METHODS
from sqil_training.ptq.quantizer import packed_copy, quantize_model
from sqil_training.ptq.report import weight_errors
from sqil_training.ptq.scaling import fold
from sqil_training.ptq.statistics import Run
from torch import Tensor, nn

from sqil_ros.errors import CalibrationError, ParameterError, ProfileError
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.quant.activations import InputRule
from sqil_ros.quant.primitives import WIDTHS, Grid, quantize
from sqil_ros.quant.profile import apply_profile, write_profile
from sqil_ros.quant.selection import select_layers
from sqil_ros.quant.weights import skeleton

Function = Callable[[nn.Module], Tensor]
GRID = Grid(3, 4, symmetric=False)  # 4 divides every width of the micro model


def chosen(model: nn.Module) -> list[str]:
    return [name for names in select_layers(model).values() for name in names]


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('grid', [Grid(8), GRID], ids=['int8', 'int3-asym-g4'])
def test_a_model_is_near_to_the_original(
    model: OpenVLA, run: Run, function: Function, method: str, grid: Grid
) -> None:
    layers = chosen(model)
    result = quantize_model(model, layers, METHODS[method], Options(grid), run)
    assert list(result.layers) == layers
    assert all(q.grid == grid for q in result.layers.values())
    full, packed = function(model), function(packed_copy(result, 'reference'))
    assert torch.equal(packed, function(result.model))  # packed computes what fake computes
    assert 0.0 < distance(packed, full) < (0.05 if grid.bits == 8 else 0.7)
    assert 0.0 < weight_errors(result.errors)[0] < (0.02 if grid.bits == 8 else 0.3)


@pytest.mark.parametrize('bits', WIDTHS)
def test_rtn_is_the_quantiser(model: OpenVLA, bits: int) -> None:
    layers = chosen(model)
    result = quantize_model(model, layers, METHODS['rtn'], Options(Grid(bits)))
    for name, quantized in result.layers.items():
        assert torch.equal(quantized.codes, quantize(model.get_submodule(name).weight, bits).codes)


@pytest.mark.parametrize('method', ['awq', 'gptq', 'rotationgptq'])
def test_the_same_data_and_seed_give_the_same_integers(
    model: OpenVLA, run: Run, method: str
) -> None:
    layers = chosen(model)
    first, second = (
        quantize_model(model, layers, METHODS[method], Options(Grid(4)), run) for _ in range(2)
    )
    assert all(torch.equal(first.layers[n].codes, second.layers[n].codes) for n in layers)


@pytest.mark.parametrize('method', ['awq', 'gptq'])
def test_calibration_helps_where_inputs_are_uneven(
    model: OpenVLA, run: Run, function: Function, method: str
) -> None:
    uneven = copy.deepcopy(model)
    for name, module in uneven.named_modules():
        if name.endswith('layernorm') and hasattr(module, 'weight'):
            module.weight[::5] *= 6.0
    layers, full = select_layers(uneven)['language'], function(uneven)
    errors = {}
    for name in ('rtn', method):
        result = quantize_model(uneven, layers, METHODS[name], Options(Grid(4)), run)
        errors[name] = distance(function(result.model), full)
    assert errors[method] < errors['rtn']


@pytest.mark.parametrize('method', ['awq', 'rotation'])
@pytest.mark.parametrize(
    'inputs', [None, InputRule(8), InputRule(8, static=True), InputRule(4, True, True)],
    ids=['a16', 'a8', 'a8static', 'a4staticprompt'],
)  # fmt: skip
def test_a_profile_computes_what_was_measured(
    tmp_path: Path,
    model: OpenVLA,
    run: Run,
    function: Function,
    method: str,
    inputs: InputRule | None,
) -> None:
    """Norms and embeddings that a method changed are in the profile too."""
    layers = chosen(model)
    result = quantize_model(model, layers, METHODS[method], Options(GRID), run, inputs)
    write_profile(
        tmp_path, f'int3_{method}', result.model, {'all': result.layers}, method=method,
        base='a' * 64, contract='b' * 16, rest_dtype=torch.float32, activations=result.activations,
    )  # fmt: skip
    loaded = skeleton(model)
    profile = apply_profile(loaded, tmp_path / f'int3_{method}', 'reference')
    assert profile.inputs == inputs
    assert torch.equal(function(loaded), function(packed_copy(result, 'reference')))


def test_smoothing_helps_rounded_activations(model: OpenVLA, run: Run, function: Function) -> None:
    """What it is for: a channel of the inputs far above the others."""
    uneven = copy.deepcopy(model)
    for block in blocks(uneven).values():
        for group in block.reads:
            scale = torch.ones(uneven.get_submodule(group.layers[0]).in_features)
            scale[3] /= 60.0
            fold(uneven, group, scale)
    layers, full = select_layers(uneven)['language'], function(uneven)
    errors = {}
    for method in ('rtn', 'smoothquant'):
        result = quantize_model(
            uneven, layers, METHODS[method], Options(Grid(8)), run, InputRule(8, static=True)
        )
        errors[method] = distance(function(packed_copy(result, 'reference')), full)
    assert errors['smoothquant'] < 0.5 * errors['rtn']


def test_bad_input_is_refused_by_name(model: OpenVLA, run: Run) -> None:
    layers, options = chosen(model), Options(Grid(4))
    with pytest.raises(CalibrationError, match='--calibration'):
        quantize_model(model, layers, METHODS['gptq'], options)
    with pytest.raises(CalibrationError, match='--calibration'):
        quantize_model(model, layers, METHODS['rtn'], options, None, InputRule(8, static=True))
    with pytest.raises(ParameterError, match=r'layer dino\..*16 does not divide the 12 inputs'):
        quantize_model(model, layers, METHODS['awq'], Options(Grid(4, 16)), run)
    with pytest.raises(CalibrationError, match=r'lm_head saw no input.*--method rtn'):
        quantize_model(model, ['language_model.lm_head'], METHODS['gptq'], options, run)
    with pytest.raises(ParameterError, match=r'smoothing of 1\.5.*0 .*to 1'):
        quantize_model(model, layers, METHODS['smoothquant'], Options(Grid(4), smoothing=1.5), run)
    broken = copy.deepcopy(model)
    broken.get_submodule(layers[3]).weight[0, 0] = float('nan')
    with pytest.raises(ProfileError, match=f'layer {layers[3]}.*not finite'):
        quantize_model(broken, layers, METHODS['rtn'], options)
    broken = copy.deepcopy(model)
    broken.dino.embeddings.cls_token[0, 0, 0] = float('inf')
    with pytest.raises(CalibrationError, match=r'layer dino\..*not finite'):
        quantize_model(broken, layers, METHODS['gptq'], options, run)
