# SPDX-License-Identifier: Apache-2.0
"""The tensors of a profile, out of a model and back into one.

For every quantised layer ``<layer>.packed``, ``<layer>.scale`` and, where it has them,
``<layer>.zero``, ``<layer>.input_step``, ``<layer>.bias`` and ``<layer>.down`` with ``<layer>.up``
(a low-rank change beside the integers); every other parameter at 16 bits, every buffer as it is.
Buffers that a model does not save are here too: a model that was built without weights could not
compute them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sqil_ros.errors import ProfileError
from sqil_ros.quant.activations import Activations
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.manifest import MEND, LayerGroup
from sqil_ros.quant.packing import pack
from sqil_ros.quant.primitives import WHOLE_ROW, Quantized
from sqil_ros.quant.selection import linear_layers
from sqil_ros.quant.tensor_file import TensorFile


@dataclass(frozen=True)
class LowRank:
    """A change ``up @ down`` of a weight: (out, rank) times (rank, in)."""

    down: Tensor
    up: Tensor


def skeleton(model: nn.Module) -> nn.Module:
    """A copy of ``model`` without its weights (on the ``meta`` device)."""
    bones: dict[int, Any] = {}
    for parameter in model.parameters():
        empty = torch.empty_like(parameter, device='meta')
        bones[id(parameter)] = nn.Parameter(empty, requires_grad=False)
    for buffer in model.buffers():
        bones[id(buffer)] = torch.empty_like(buffer, device='meta')
    return copy.deepcopy(model, bones)


def profile_tensors(
    model: nn.Module,
    layers: Mapping[str, Quantized],
    rest_dtype: torch.dtype,
    activations: Activations | None = None,
    beside: Mapping[str, LowRank] | None = None,
) -> dict[str, Tensor]:
    """Everything a profile's weights file holds, each tensor with memory of its own."""
    tensors = {}
    for name, old in _rest(model, layers).items():
        is_weight = isinstance(old, nn.Parameter) and old.is_floating_point()
        tensors[name] = old.detach().to(rest_dtype if is_weight else old.dtype).clone()
    for name, quantized in layers.items():
        tensors[f'{name}.packed'] = pack(quantized.codes, quantized.bits)
        tensors[f'{name}.scale'] = quantized.scale.to(torch.float32).clone()
        if quantized.zero is not None:
            tensors[f'{name}.zero'] = quantized.zero.clone()
        if activations is not None and activations.steps is not None:
            tensors[f'{name}.input_step'] = torch.tensor(activations.steps[name])
        if beside is not None:
            tensors[f'{name}.down'] = beside[name].down.detach().to(rest_dtype).clone()
            tensors[f'{name}.up'] = beside[name].up.detach().to(rest_dtype).clone()
        bias = model.get_submodule(name).bias
        if isinstance(bias, Tensor):
            tensors[f'{name}.bias'] = bias.detach().to(rest_dtype).clone()
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def put_tensors(
    model: nn.Module,
    tensors: TensorFile,
    groups: Sequence[LayerGroup],
    back_end: str,
) -> None:
    """Inverse of :func:`profile_tensors`: all of ``tensors`` into ``model``, or none.

    Args:
        model: of the same architecture; its weights may be on the ``meta`` device.
        tensors: taken out one by one, so that a large profile is not held twice.
        groups: the quantised layers and their grids.
        back_end: for the packed layers.

    Raises:
        ProfileError: tensors and model do not fit.
    """
    available = linear_layers(model)
    owners = {layer: group for group in groups for layer in group.layers}
    unknown = [name for name in owners if name not in available]
    if unknown:
        raise ProfileError(
            f'the model has no linear layer {unknown[0]} ({len(unknown)} of {len(owners)} are '
            'unknown); use the profile of this checkpoint'
        )
    layers = {}
    for name, group in owners.items():
        old = available[name]
        parts = _parts(old, name, group, tensors)
        layers[name] = _packed_layer(old, name, group, parts, back_end)
    rest = {id(old): _fitted(name, old, tensors) for name, old in _rest(model, layers).items()}
    if len(tensors):
        raise ProfileError(
            f'{len(tensors)} tensors have no place in the model, for instance '
            f'{next(iter(tensors))}; use the profile of this checkpoint'
        )
    _exchange(model, layers, rest)


def _rest(model: nn.Module, layers: Mapping[str, Any]) -> dict[str, Tensor]:
    """Parameters and buffers outside ``layers``, tied ones once."""
    rest: dict[int, tuple[str, Tensor]] = {}
    tensors = (
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    )
    for name, tensor in tensors:
        if name.rpartition('.')[0] not in layers:
            rest.setdefault(id(tensor), (name, tensor))
    return dict(rest.values())


def _parts(old: nn.Linear, name: str, group: LayerGroup, tensors: TensorFile) -> dict[str, Tensor]:
    """The tensors of a layer, popped from ``tensors``, of the shapes that its group promises."""
    grid = group.grid
    has = {
        'zero': not grid.symmetric,
        'input_step': group.inputs is not None and group.inputs.static,
        'bias': old.bias is not None,
        'down': group.rank > 0,
        'up': group.rank > 0,
    }
    keys = ['packed', 'scale', *(key for key, present in has.items() if present)]
    missing = [key for key in keys if f'{name}.{key}' not in tensors]
    if missing:
        raise ProfileError(f'{missing} of layer {name} are missing; use the profile of this model')
    parts = {key: tensors.pop(f'{name}.{key}') for key in keys}
    if len(parts['scale']) != old.out_features:
        raise ProfileError(
            f'layer {name} has {len(parts["scale"])} rows, in the model {old.out_features}; use '
            'the profile of this checkpoint'
        )
    if group.rank and len(parts['down']) != group.rank:
        raise ProfileError(
            f'layer {name} has a low-rank change of rank {len(parts["down"])}, the profile says '
            f'{group.rank}. {MEND}'
        )
    whole = grid.group_size in (WHOLE_ROW, old.in_features)
    runs = () if whole else (old.in_features // grid.group_size,)
    if tuple(parts['scale'].shape[1:]) != runs:
        raise ProfileError(
            f'layer {name} has scales {tuple(parts["scale"].shape)}; groups of {grid.group_size} '
            f'inputs (0: whole rows) need {(old.out_features, *runs)}. {MEND}'
        )
    return parts


def _packed_layer(
    old: nn.Linear,
    name: str,
    group: LayerGroup,
    parts: Mapping[str, Tensor],
    back_end: str,
) -> PackedLinear:
    # The weight of a packed layer is computed at every access, so its scale is asked instead.
    home = (old.scale if isinstance(old, PackedLinear) else old.weight).device
    home = torch.device('cpu') if home.type == 'meta' else home
    here = {key: part.to(home) for key, part in parts.items()}
    bias = None if old.bias is None else here['bias'].to(old.bias.dtype)
    inputs = None if group.inputs is None else group.inputs.inputs(here.get('input_step'))
    try:
        layer = PackedLinear(
            here['packed'], here['scale'], bias, old.in_features, group.bits, back_end,
            here.get('zero'), inputs,
        )  # fmt: skip
        if 'up' in here:
            layer.adapt(here['down'].float(), here['up'].float())
        return layer
    except ProfileError as error:
        raise ProfileError(f'layer {name}: {error}') from error


def _fitted(name: str, old: Tensor, tensors: TensorFile) -> Tensor:
    """The new value of a parameter or buffer, popped from ``tensors``."""
    found = tensors.shape(name) if name in tensors else None
    if found != tuple(old.shape):
        raise ProfileError(
            f'{name} is {"nothing" if found is None else found}, the model needs '
            f'{tuple(old.shape)}; use the profile of this checkpoint'
        )
    new = tensors.pop(name).to('cpu' if old.is_meta else old.device, old.dtype)
    return nn.Parameter(new, requires_grad=False) if isinstance(old, nn.Parameter) else new


def _exchange(
    model: nn.Module, layers: Mapping[str, PackedLinear], rest: Mapping[int, Tensor]
) -> None:
    """Put new layers and tensors in place of the old, wherever they are tied to."""
    for name, layer in layers.items():
        parent, _, child = name.rpartition('.')
        setattr(model.get_submodule(parent), child, layer)
    for module in model.modules():
        for store in (module._parameters, module._buffers):
            for key, old in store.items():
                if id(old) in rest:
                    store[key] = rest[id(old)]  # type: ignore[assignment]
