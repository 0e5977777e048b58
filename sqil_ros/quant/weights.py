# SPDX-License-Identifier: Apache-2.0
"""The tensors of a profile, out of a model and back into one.

For every quantised layer ``<layer>.packed``, ``<layer>.scale`` and, if it has one,
``<layer>.bias``; every other parameter at 16 bits, every buffer as it is. Buffers that a model
does not save are here too: a model that was built without weights could not compute them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sqil_ros.errors import ProfileError
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.packing import pack
from sqil_ros.quant.primitives import Quantized
from sqil_ros.quant.selection import linear_layers


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
    model: nn.Module, layers: Mapping[str, Quantized], rest_dtype: torch.dtype
) -> dict[str, Tensor]:
    """Everything a profile's weights file holds, each tensor with memory of its own."""
    tensors = {}
    for name, old in _rest(model, layers).items():
        is_weight = isinstance(old, nn.Parameter) and old.is_floating_point()
        tensors[name] = old.detach().to(rest_dtype if is_weight else old.dtype).clone()
    for name, quantized in layers.items():
        tensors[f'{name}.packed'] = pack(quantized.codes, quantized.bits)
        tensors[f'{name}.scale'] = quantized.scale.to(torch.float32).clone()
        bias = model.get_submodule(name).bias
        if isinstance(bias, Tensor):
            tensors[f'{name}.bias'] = bias.detach().to(rest_dtype).clone()
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def put_tensors(
    model: nn.Module, tensors: dict[str, Tensor], widths: Mapping[str, int], back_end: str
) -> None:
    """Inverse of :func:`profile_tensors`: all of ``tensors`` into ``model``, or none.

    Args:
        model: of the same architecture; its weights may be on the ``meta`` device.
        tensors: emptied on the way, so that a large profile is not held twice.
        widths: bits of every quantised layer.
        back_end: for the packed layers.

    Raises:
        ProfileError: tensors and model do not fit.
    """
    available = linear_layers(model)
    unknown = [name for name in widths if name not in available]
    if unknown:
        raise ProfileError(
            f'the model has no linear layer {unknown[0]} ({len(unknown)} of {len(widths)} are '
            'unknown); use the profile of this checkpoint'
        )
    layers = {
        name: _packed_layer(available[name], name, bits, tensors, back_end)
        for name, bits in widths.items()
    }
    rest = {id(old): _fitted(name, old, tensors) for name, old in _rest(model, layers).items()}
    if tensors:
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


def _packed_layer(
    old: nn.Linear, name: str, bits: int, tensors: dict[str, Tensor], back_end: str
) -> PackedLinear:
    keys = ['packed', 'scale'] + ([] if old.bias is None else ['bias'])
    missing = [key for key in keys if f'{name}.{key}' not in tensors]
    if missing:
        raise ProfileError(f'{missing} of layer {name} are missing; use the profile of this model')
    parts = {key: tensors.pop(f'{name}.{key}') for key in keys}
    if len(parts['scale']) != old.out_features:
        raise ProfileError(
            f'layer {name} has {len(parts["scale"])} rows, in the model {old.out_features}; use '
            'the profile of this checkpoint'
        )
    # The weight of a packed layer is computed at every access, so its scale is asked instead.
    home = (old.scale if isinstance(old, PackedLinear) else old.weight).device
    home = torch.device('cpu') if home.type == 'meta' else home
    bias = None if old.bias is None else parts['bias'].to(home, old.bias.dtype)
    packed, scale = parts['packed'].to(home), parts['scale'].to(home)
    try:
        return PackedLinear(packed, scale, bias, old.in_features, bits, back_end)
    except ProfileError as error:
        raise ProfileError(f'layer {name}: {error}') from error


def _fitted(name: str, old: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """The new value of a parameter or buffer, popped from ``tensors``."""
    if name not in tensors or tensors[name].shape != old.shape:
        found = tuple(tensors[name].shape) if name in tensors else 'nothing'
        raise ProfileError(
            f'{name} is {found}, the model needs {tuple(old.shape)}; use the profile of this '
            'checkpoint'
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
