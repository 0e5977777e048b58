# SPDX-License-Identifier: Apache-2.0
"""What the products of a network are computed in while it learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

FLOAT32, BFLOAT16 = 'float32', 'bfloat16'


@contextmanager
def products_in(precision: str, device: torch.device) -> Iterator[None]:
    """Compute matrix products inside in this precision; weights and moments stay in float32.

    Args:
        precision: :data:`FLOAT32` or :data:`BFLOAT16`.
        device: where the network is.
    """
    if precision == FLOAT32:
        yield
    elif device.type == 'cpu':
        with torch.autocast('cpu', torch.bfloat16), _Float32Attention():
            yield
    else:
        with torch.autocast(device.type, torch.bfloat16):
            yield


class _Float32Attention(TorchFunctionMode):
    """Attention in float32: torch's backward pass of it takes five times as long in bfloat16."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Widen what attention is given; let everything else be."""
        named = kwargs or {}
        if func is not scaled_dot_product_attention:
            return func(*args, **named)
        with torch.autocast('cpu', enabled=False):
            return func(*map(_wide, args), **{name: _wide(value) for name, value in named.items()})


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
