# SPDX-License-Identifier: Apache-2.0
"""Whole control steps of OpenVLA networks with random weights, at full size."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sqil_ros.bench.moved import moved_bytes
from sqil_ros.bench.products import COMPILED, EAGER
from sqil_ros.bench.shapes import CHUNK, LARGE, PARALLEL, TINY
from sqil_ros.memory import give_back
from sqil_ros.policy.openvla.config import L1, OpenVLAConfig, with_l1_head
from sqil_ros.policy.openvla.engine_step import EngineStep
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.processor import Batch
from sqil_ros.policy.openvla.random_model import FULL, openvla_7b, random_model
from sqil_ros.quant.size import file_bytes, model_bytes
from sqil_ros.share import share_directory

WORDS = 20
"""Tokens of the prompt."""

STEP = 'step'
STAGES = ('vision', 'prefill', 'token', 'decode', STEP)
"""Pictures to tokens of the decoder; prompt to first action token; one more token; prompt to all
action tokens, or to a chunk; everything."""

Act = Callable[[], dict[str, float]]
_MS = 1e3


@dataclass(frozen=True)
class Runner:
    """A network that has acted once.

    Attributes:
        act: does one step and returns the milliseconds of every stage of :data:`STAGES`.
        weight_bytes: of all weights as held in memory.
        file_bytes: of all weights on disk.
        resident_bytes: by which this process grew in memory when it was made and acted.
        moved: bytes of weights that every stage reads.
    """

    act: Act
    weight_bytes: int
    file_bytes: int
    resident_bytes: int
    moved: Mapping[str, int]


def config_of(model: str) -> OpenVLAConfig:
    """``tiny`` is the committed policy's network, ``openvla-7b`` the published one's.

    ``tiny-oft`` and ``openvla-7b-oft`` answer with chunks, the latter for two cameras and eight
    numbers of proprioception, as published for LIBERO (arXiv 2502.19645).
    """
    if model.endswith(PARALLEL):
        own = {'n_images': 2, 'proprio_dim': 8} if model.startswith(LARGE) else {'stop_token': 1}
        return with_l1_head(config_of(model.removesuffix(PARALLEL)), CHUNK, **own)
    if model == TINY:
        folder = share_directory() / 'models' / 'toy_sink_openvla'
        config = OpenVLAConfig.from_pretrained(folder)
        assert isinstance(config, OpenVLAConfig)
        return config
    return openvla_7b()


def runners(config: OpenVLAConfig, names: list[str]) -> Iterator[tuple[str, Runner]]:
    """Networks one by one; who lets go of each before the next needs memory for one only.

    Args:
        config: of all.
        names: ``bf16, torch``, ``bf16, compiled``, ``engine bf16`` or such as ``engine W4A8``.
    """
    for name in names:
        give_back()
        yield name, _runner(config, name)


def _runner(config: OpenVLAConfig, name: str) -> Runner:
    before = resident_bytes()
    network = random_model(config, *widths_of(name))
    moved, on_disk = moved_bytes(network), file_bytes(network)
    if name in (EAGER, COMPILED):
        act, size = _torch_act(network, name == COMPILED)
    else:
        act, size = _engine_act(network)
    act()
    give_back()
    return Runner(act, size, on_disk, resident_bytes() - before, moved)


def resident_bytes() -> int:
    """Memory of this process that is in the machine's memory now."""
    lines = Path('/proc/self/status').read_text(encoding='ascii').splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith('VmRSS'))


def widths_of(name: str) -> tuple[int, int | None]:
    """Of weights and inputs, from such as ``engine W4A8``; inputs of 16 bits are not rounded."""
    form = name.removeprefix('engine ')
    if 'bf16' in form:
        return FULL, None
    bits, inputs = form.removeprefix('W').split('A')
    return int(bits), None if int(inputs) == FULL else int(inputs)


def _engine_act(network: OpenVLA) -> tuple[Act, int]:
    """Of a network that the engine takes over, and the bytes of its weights and room."""
    config = network.config
    step = EngineStep(network, take=True)
    moment = _moment(config)
    proprio = None if moment.proprio is None else moment.proprio[0]
    step.make_room(WORDS)
    parallel = config.head == L1
    answer = step.plan if parallel else step.decode

    def act() -> dict[str, float]:
        start = time.perf_counter()
        step.see(moment.pixels[0], proprio)
        seen = time.perf_counter()
        answer(moment.tokens[0])
        end = time.perf_counter()
        found = {'vision': _MS * (seen - start)}
        if not parallel:
            prefill, whole = step.seconds()
            found['prefill'] = _MS * prefill
            found['token'] = _MS * (whole - prefill) / (config.answers - 1)
        return found | {'decode': _MS * (end - seen), 'step': _MS * (end - start)}

    return act, model_bytes(network).total + step.bytes


def _torch_act(network: OpenVLA, compiled: bool) -> tuple[Act, int]:
    """In bfloat16 with keys and values kept: operator by operator, or as torch compiles it."""
    config = network.config
    see = network.patch_features
    answer = network.predict_chunk if config.head == L1 else network.predict_tokens
    if compiled:
        see, answer = torch.compile(see), torch.compile(answer)
    moment = _moment(config)
    batch = moment.to('cpu', torch.bfloat16)

    def act() -> dict[str, float]:
        start = time.perf_counter()
        with torch.inference_mode():
            features = see(batch.pixels)
            seen = time.perf_counter()
            answer(batch, features)
        end = time.perf_counter()
        return {
            'vision': _MS * (seen - start),
            'decode': _MS * (end - seen),
            'step': _MS * (end - start),
        }

    return act, model_bytes(network).total


def _moment(config: OpenVLAConfig) -> Batch:
    generator = torch.Generator().manual_seed(0)
    side = config.image_size
    pixels = torch.randn(1, config.n_images, 6, side, side, generator=generator)
    tokens = torch.randint(3, config.text_vocab_size, (1, WORDS), generator=generator)
    proprio: Tensor | None = None
    if config.proprio_dim:
        proprio = torch.rand(1, config.proprio_dim, generator=generator)
    return Batch(pixels, tokens, torch.ones_like(tokens), proprio)
