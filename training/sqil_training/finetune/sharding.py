# SPDX-License-Identifier: Apache-2.0
"""Weights shared out over the processes of a run: torch's FSDP2, every layer a unit of its own.

`accelerate launch --use_fsdp` asks for it. accelerate itself shards on GPUs alone, and only a
model that has an optimiser, which a teacher has not; so torch is asked directly, on any device.
"""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.utils import parse_flag_from_env
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from sqil_ros.policy.openvla.model import OpenVLA


def sharding_wanted(accelerator: Accelerator) -> bool:
    """Whether the run was launched for it and has somebody to share with."""
    return parse_flag_from_env('ACCELERATE_USE_FSDP') and accelerator.num_processes > 1


def shard(network: nn.Module, accelerator: Accelerator) -> None:
    """Keep only this process's part of each parameter of ``network``, in place.

    Buffers, which the integers of packed layers are, stay whole in every process.
    """
    network.to(accelerator.device)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    layers = [m for m in network.modules() if type(m).__name__ in OpenVLA._no_split_modules]
    for module in (*layers, network):
        fully_shard(module, mesh=mesh)
        assert isinstance(module, FSDPModule)
        module.set_force_sum_reduction_for_comms(True)  # gloo knows no mean


def whole(tensor: Tensor) -> Tensor:
    """All parts of ``tensor`` together; every process must ask at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(tensor: Tensor, other: Tensor) -> Tensor:
    """The part of a whole ``tensor`` that this process keeps of ``other``, where that lies."""
    tensor = tensor.to(other.device)
    if not isinstance(other, DTensor):
        return tensor
    return distribute_tensor(tensor, other.device_mesh, other.placements, src_data_rank=None)
