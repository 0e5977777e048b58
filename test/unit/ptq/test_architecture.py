# SPDX-License-Identifier: Apache-2.0
"""Who reads whom, proved by moving scales about: a wrong entry changes the function."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from sqil_training.ptq.architecture import blocks, scaling_groups, shared_inputs, stages
from sqil_training.ptq.scaling import fold
from sqil_training.ptq.statistics import Run, collect
from torch import Tensor, nn

from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.quant.selection import linear_layers, select_layers

Function = Callable[[nn.Module], Tensor]


def folded_everywhere(model: OpenVLA) -> OpenVLA:
    twin = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    for block in blocks(twin).values():
        for group in scaling_groups(twin, block):
            width = twin.get_submodule(group.layers[0]).in_features
            fold(twin, group, torch.exp(torch.randn(width, generator=generator)))
    return twin


def test_scales_may_be_folded_everywhere(model: OpenVLA, function: Function) -> None:
    torch.testing.assert_close(
        function(folded_everywhere(model)), function(model), rtol=1e-4, atol=1e-4
    )


def test_shared_values_are_left_alone(grouped_queries: OpenVLA, function: Function) -> None:
    decoder = blocks(grouped_queries)['language_model.model.layers.0']
    assert decoder.values not in scaling_groups(grouped_queries, decoder)
    folded = folded_everywhere(grouped_queries)
    torch.testing.assert_close(function(folded), function(grouped_queries), rtol=1e-4, atol=1e-4)


def test_all_layers_of_all_blocks_are_known(model: OpenVLA) -> None:
    """Every linear layer of a block is read from a norm, or writes the stream."""
    found = blocks(model)
    assert len(found) == 6
    known = {
        name
        for block in found.values()
        for name in (*(n for read in block.reads for n in read.layers), *block.writes)
    }
    assert known == {
        name for name in linear_layers(model) if any(name.startswith(f'{b}.') for b in found)
    }


def test_layers_that_share_an_input_do(model: OpenVLA, run: Run) -> None:
    seen: dict[str, Tensor] = {}
    shared = shared_inputs(model)
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda module, args, name=name: seen.__setitem__(name, args[0])
        )
        for name in shared
    ]
    run(model)
    for handle in handles:
        handle.remove()
    assert all(torch.equal(seen[name], seen[first]) for name, first in shared.items())


def test_stages_hold_every_layer_once_in_the_order_of_computation(
    model: OpenVLA, run: Run
) -> None:
    layers = [name for name in linear_layers(model) if not name.endswith('lm_head')]
    found = stages(model, layers)
    assert sorted(name for stage in found for name in stage) == sorted(layers)
    order: list[str] = []
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda module, args, name=name: order.append(name)
        )
        for name in layers
    ]
    run(model)
    for handle in handles:
        handle.remove()
    last = {name: index for index, name in enumerate(order)}
    ends = [max(last[name] for name in stage) for stage in found]
    assert ends == sorted(ends)
    default = [n for names in select_layers(model).values() for n in names]
    assert len(stages(model, default)) == 6  # one pass a block


def test_statistics_do_not_depend_on_how_they_are_asked_for(model: OpenVLA, run: Run) -> None:
    layers = select_layers(model)['language'][:3]
    together = collect(model, layers, run)
    alone = collect(model, layers[-1:], run)
    assert torch.equal(together[layers[-1]].gram, alone[layers[-1]].gram)
    assert together[layers[0]].count == together[layers[-1]].count > 0
