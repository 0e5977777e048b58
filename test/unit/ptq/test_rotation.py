# SPDX-License-Identifier: Apache-2.0
"""Rotations turn the residual streams and leave the function."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from sqil_training.ptq.method import Options
from sqil_training.ptq.orthogonal import mean_keeping, spreading_rotation
from sqil_training.ptq.rotation import rotate
from torch import Tensor, nn

from sqil_ros.errors import ParameterError
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.quant.primitives import Grid, quantize, relative_error
from sqil_ros.quant.selection import select_layers

Function = Callable[[nn.Module], Tensor]
OPTIONS = Options(Grid(4), seed=3)


def rotated(model: OpenVLA, *towers: str) -> OpenVLA:
    twin = copy.deepcopy(model)
    layers = [name for names in select_layers(model).values() for name in names]
    rotate(twin, [n for n in layers if not towers or n.startswith(towers)], OPTIONS, None)
    return twin


@pytest.mark.parametrize('towers', [(), ('dino.',), ('siglip.',), ('language_model.',)])
def test_the_function_stays(model: OpenVLA, function: Function, towers: tuple[str, ...]) -> None:
    twin = rotated(model, *towers)
    torch.testing.assert_close(function(twin), function(model), rtol=1e-4, atol=1e-4)
    assert not torch.equal(twin.projector.fc1.weight, model.projector.fc1.weight) or (
        towers == ('language_model.',)
    )


def test_shared_values_are_rotated_alike(grouped_queries: OpenVLA, function: Function) -> None:
    twin = rotated(grouped_queries)
    torch.testing.assert_close(function(twin), function(grouped_queries), rtol=1e-4, atol=1e-4)


def test_a_seed_is_a_rotation(model: OpenVLA) -> None:
    weights = [rotated(model).language_model.lm_head.weight for _ in range(2)]
    assert torch.equal(*weights)


def test_outliers_are_spread(model: OpenVLA) -> None:
    """A channel of the stream that every reader weighs heavily costs all others their steps."""
    twin = copy.deepcopy(model)
    name = 'language_model.model.layers.1.mlp.up_proj'
    twin.get_submodule(name).weight[:, 5] *= 50.0
    turned = rotated(twin)
    before, after = (m.get_submodule(name).weight for m in (twin, turned))
    assert after.abs().max() < 0.7 * before.abs().max()
    assert relative_error(after, quantize(after, 4)) < relative_error(before, quantize(before, 4))


@pytest.mark.parametrize('width', [1, 3, 8, 12, 24, 96])
def test_rotations_are_orthogonal_and_keep_the_mean_if_asked(width: int) -> None:
    rotation = spreading_rotation(width, torch.Generator().manual_seed(0))
    identity, ones = torch.eye(width, dtype=torch.float64), torch.ones(width, dtype=torch.float64)
    torch.testing.assert_close(rotation @ rotation.t(), identity)
    kept = mean_keeping(rotation)
    torch.testing.assert_close(kept @ kept.t(), identity)
    torch.testing.assert_close(kept @ ones, ones)
    torch.testing.assert_close(mean_keeping(identity), identity)


def test_a_power_of_two_spreads_every_channel_evenly() -> None:
    rotation = spreading_rotation(64, torch.Generator().manual_seed(0))
    torch.testing.assert_close(rotation.abs(), torch.full_like(rotation, 1 / 8))


def test_what_cannot_be_rotated_is_refused(model: OpenVLA) -> None:
    with pytest.raises(ParameterError, match='Linear are not known'):
        rotate(nn.Linear(2, 2), [''], OPTIONS, None)
    tied = copy.deepcopy(model)
    tied.language_model.lm_head.weight = tied.language_model.get_input_embeddings().weight
    with pytest.raises(ParameterError, match='shares the weights'):
        rotate(tied, select_layers(model)['language'], OPTIONS, None)
