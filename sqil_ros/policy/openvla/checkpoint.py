# SPDX-License-Identifier: Apache-2.0
"""A checkpoint directory: ``save_pretrained`` files, tokenizer, statistics and manifest."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer

from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError
from sqil_ros.memory import give_back
from sqil_ros.policy.manifest import read_manifest, write_manifest
from sqil_ros.policy.openvla.engine_step import (
    AUTO,
    TORCH,
    EngineStep,
    check_engine,
    engine_step,
)
from sqil_ros.policy.openvla.gpu import onto_gpu
from sqil_ros.policy.openvla.graph_step import GraphStep
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.processor import Processor
from sqil_ros.policy.openvla.statistics import read_normalizer
from sqil_ros.policy.openvla.tokenizer import space_token
from sqil_ros.quant.cuda import device_refusal
from sqil_ros.quant.size import packed_layers

TOKENIZER_FILE = 'tokenizer.json'
STATISTICS_FILE = 'dataset_statistics.json'
LARGE = 10**9
"""Weights from which on a network is not held in float32."""
_LOG = logging.getLogger(__name__)


def save_checkpoint(
    directory: Path,
    model: OpenVLA,
    tokenizer: Tokenizer,
    statistics: dict[str, Any],
    contract: Contract,
    name: str,
) -> None:
    """Write a finished checkpoint, weights in bfloat16; the manifest comes last."""
    directory.mkdir(parents=True, exist_ok=True)
    dtype = model.dtype
    model.to(torch.bfloat16).save_pretrained(directory)
    model.to(dtype)
    tokenizer.save(str(directory / TOKENIZER_FILE))
    text = json.dumps(statistics, indent=1)
    (directory / STATISTICS_FILE).write_text(text + '\n', encoding='utf-8')
    files = ['config.json', 'model.safetensors', TOKENIZER_FILE, STATISTICS_FILE]
    write_manifest(
        directory,
        name=name,
        architecture='openvla',
        dataset=next(iter(statistics)),
        contract_hash=contract.hash,
        files=files,
    )


def load_model(directory: Path, dtype: torch.dtype = torch.float32) -> OpenVLA:
    """The network with its full-precision weights, ready for inference.

    Raises:
        CheckpointError: the weights are missing or do not fit the configuration.
    """
    try:
        model = OpenVLA.from_pretrained(directory, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f'{directory} does not load as an OpenVLA: {error}. Fetch the checkpoint again.'
        ) from error
    return model.eval()


def weight_type(model: OpenVLA) -> torch.dtype:
    """Of what is not packed: bfloat16 as published where float32 would be too large to hold.

    Smaller networks are computed in float32 from end to end, keys and values too.
    """
    large = sum(parameter.numel() for parameter in model.parameters()) >= LARGE
    return torch.bfloat16 if large else torch.float32


def load_processor(directory: Path, dataset: str, model: OpenVLA) -> Processor:
    """Tokenizer and statistics of a checkpoint."""
    tokenizer = Tokenizer.from_file(str(directory / TOKENIZER_FILE))
    proprio = read_normalizer(directory, dataset, 'proprio') if model.config.proprio_dim else None
    return Processor(model.config, tokenizer, proprio, space_token(tokenizer))


def load_openvla(
    directory: Path,
    profile: str,
    contract: Contract,
    device: str = 'cpu',
    engine: str = AUTO,
    act_only: bool = False,
) -> OpenVLAPolicy:
    """A policy at ``profile``; the caller has checked the manifest.

    Raises:
        CheckpointError: weights or statistics are unusable.
        ParameterError: ``engine`` is not one of ``ENGINES``.
        ProfileError: the profile is unknown, corrupt or of another checkpoint.
        EngineError: the device is not there, or its memory does not suffice.
    """
    from sqil_ros.quant.profile import FULL_PRECISION, apply_profile, find_profile

    manifest = read_manifest(directory)
    with torch.device('meta'):  # every weight comes from a file
        model = OpenVLA(OpenVLA.config_class.from_pretrained(directory))
    model.to(weight_type(model))
    if profile != FULL_PRECISION:
        apply_profile(model, find_profile(directory, profile, contract.hash))
        model.eval()
    else:
        model = load_model(directory, model.dtype)
    step = _ready(model, torch.device(device), engine, act_only)
    give_back()
    return OpenVLAPolicy(
        model=model,
        processor=load_processor(directory, manifest.dataset, model),
        actions=read_normalizer(directory, manifest.dataset, 'action'),
        profile=profile,
        name=manifest.name,
        device=device,
        step=step,
    )


def _ready(
    model: OpenVLA, device: torch.device, engine: str, act_only: bool
) -> EngineStep | GraphStep | None:
    """Put a model where it acts, and what acts in the place of its modules beside it."""
    check_engine(engine)
    if device.type == 'cuda':
        onto_gpu(model, device)
        if (reason := device_refusal(device)) and packed_layers(model):
            _LOG.warning('packed layers are multiplied as dense ones, which is slow: %s', reason)
        return None if engine == TORCH else GraphStep(model, take=act_only)
    model.to(device)
    return engine_step(model, engine if device.type == 'cpu' else TORCH, take=act_only)
