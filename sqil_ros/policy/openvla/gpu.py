# SPDX-License-Identifier: Apache-2.0
"""A policy's way onto a GPU, and names for what can go wrong there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sqil_ros.errors import EngineError
from sqil_ros.policy.openvla.model import OpenVLA


def check_gpu(device: torch.device) -> None:
    """Refuse a GPU that is not there.

    Raises:
        EngineError: torch cannot use it.
    """
    if torch.version.cuda is None:
        raise EngineError(
            f'torch {torch.__version__} was built without CUDA; install torch for CUDA '
            '(its index has one for every CUDA version), or use the device cpu.'
        )
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise EngineError(
            f'torch finds {count} NVIDIA GPUs, {device} is not among them; see `nvidia-smi` for '
            'the driver, or use the device cpu.'
        )


@contextmanager
def named_gpu_errors(device: torch.device) -> Iterator[None]:
    """Errors of a GPU as errors of this package.

    Raises:
        EngineError: memory does not suffice, or the GPU has failed or is gone.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError(
            f'the memory of {device} does not suffice: {error}. Choose a profile of fewer bits.'
        ) from error
    except torch.AcceleratorError as error:
        raise EngineError(
            f'{device} failed: {error}. See `nvidia-smi`; a GPU that is lost needs its driver, '
            'and the policy a new process.'
        ) from error


def onto_gpu(model: OpenVLA, device: torch.device) -> None:
    """Move a model; what is not packed becomes bfloat16, as openvla-7b is published.

    Buffers keep their type: rotary frequencies in bfloat16 would be other frequencies.

    Raises:
        EngineError: there is no such GPU, or its memory does not suffice.
    """
    check_gpu(device)
    with named_gpu_errors(device):
        in_half_precision(model)
        model.to(device)


def in_half_precision(model: OpenVLA) -> None:
    """Parameters to bfloat16, one after the other."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(torch.bfloat16)
