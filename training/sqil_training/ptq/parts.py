# SPDX-License-Identifier: Apache-2.0
"""What layers of a network consist of, by name."""

from __future__ import annotations

from torch import Tensor, nn


def weight_of(model: nn.Module, name: str) -> nn.Parameter:
    """The weight of a layer: of a linear one (out, in)."""
    return model.get_parameter(f'{name}.weight')


def bias_of(model: nn.Module, name: str) -> Tensor | None:
    """(out,) bias of a layer; None where it has none."""
    bias = getattr(model.get_submodule(name), 'bias', None)
    assert bias is None or isinstance(bias, Tensor)
    return bias
