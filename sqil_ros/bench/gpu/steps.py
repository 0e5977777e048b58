# SPDX-License-Identifier: Apache-2.0
"""Control steps of 7B networks with random weights, with a CUDA graph and without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from sqil_ros.bench.gpu.clock import gpu_turns
from sqil_ros.bench.gpu.floors import FULL, H200, WORDS, Bar, Rates, step_floor, work_of
from sqil_ros.bench.operations import layer_uses
from sqil_ros.bench.turns import ratio
from sqil_ros.policy.openvla.config import L1, OpenVLAConfig
from sqil_ros.policy.openvla.graph_step import GraphStep
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.processor import Batch
from sqil_ros.policy.openvla.random_model import random_model
from sqil_ros.quant.activations import InputRule
from sqil_ros.quant.size import model_bytes, packed_layers
from sqil_ros.types import Array

EAGER, HALF = 'bf16, torch', 'bf16, graph'
W4A16, W4A8 = 'W4A16, graph', 'W4A8 prompts, graph'
CANDIDATES: Mapping[str, tuple[int, bool]] = {
    HALF: (FULL, False),
    'W8A16, graph': (8, False),
    W4A16: (4, False),
    W4A8: (4, True),
    'W3A16, graph': (3, False),
    'W2A16, graph': (2, False),
}
"""Bits of a weight, and whether inputs of prompts and pictures have 8 bits."""


def compare_steps(config: OpenVLAConfig, rounds: int, read_gbps: float) -> list[dict[str, Any]]:
    """A row for every candidate; all are on the GPU at once and take turns."""
    works: dict[str, Callable[[], object]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    with torch.device('cuda'):
        moment = _moment(config)
        for name, (bits, rounds_prompts) in CANDIDATES.items():
            network = random_model(config, bits)
            for layer in packed_layers(network).values() if rounds_prompts else ():
                layer.input_rule = InputRule(8, prompt_only=True)
            if bits == FULL:
                works[EAGER] = _eager(network, moment)
                sizes[EAGER] = (model_bytes(network).total,) * 2
            step = GraphStep(network, take=bits != FULL)
            step.see(moment.pixels[0], None)
            (step.plan if config.head == L1 else step.decode)(moment.tokens[0])
            held = model_bytes(network).total
            works[name] = step.replay
            sizes[name] = held + (step.head_bytes if step.released else 0), held + step.bytes
            print(f'{name} is ready', flush=True)
    return step_rows(config, gpu_turns(works, rounds), sizes, read_gbps)


def step_rows(
    config: OpenVLAConfig,
    times: Mapping[str, Array],
    sizes: Mapping[str, tuple[int, int]],
    read_gbps: float,
) -> list[dict[str, Any]]:
    """What the file says of every candidate.

    Args:
        config: of the network.
        times: milliseconds by candidate and round.
        sizes: bytes of weights, and with buffers and the graph.
        read_gbps: as measured in the same run.
    """
    work = work_of(config, layer_uses(config, WORDS))
    here = Rates(read_gbps, H200.half_tflops, H200.int8_tops)
    rows = []
    for name, own in times.items():
        bits, rounds_prompts = CANDIDATES[HALF if name == EAGER else name]
        floors = {
            key: step_floor(work, bits, 8 if rounds_prompts else FULL, rates)
            for key, rates in (('floor_ms', H200), ('floor_here_ms', here))
        }
        median = float(np.median(own))
        rows.append(
            {
                'stage': 'step',
                'profile': name,
                'ms_p50': round(median, 3),
                'ms_p99': round(float(np.percentile(own, 99)), 3),
                'weight_bytes': sizes[name][0],
                'bytes': sizes[name][1],
                **{key: round(floor, 3) for key, floor in floors.items()},
                'of_floor': round(median / floors['floor_ms'], 3),
                'of_floor_here': round(median / floors['floor_here_ms'], 3),
                'ratio_eager': ratio(times[EAGER], own),
                'ratio_graph': ratio(times[HALF], own),
                'of_bf16_weights': round(sizes[name][0] / sizes[EAGER][0], 4),
            }
        )
    return rows


def bars(rows: list[dict[str, Any]]) -> list[Bar]:
    """What was promised of a 7B step on an H200, token by token."""
    by_name = {row['profile']: row for row in rows}
    four, eight = by_name[W4A16], by_name[W4A8]
    return [
        Bar('W4A16 with a graph over bf16 with a graph', four['ratio_graph'], 2.2, True),
        Bar('W4A16 with a graph over bf16, torch', four['ratio_eager'], 5.0, True),
        Bar('W4A8 prompts over its floor', eight['of_floor'], 1.6, False),
        Bar('weights of 4 bits over bf16', four['of_bf16_weights'], 0.27, False),
    ]


def chunk_bars(rows: list[dict[str, Any]]) -> list[Bar]:
    """What was promised of a 7B step that answers with a chunk."""
    eight = next(row for row in rows if row['profile'] == W4A8)
    return [Bar('W4A8 chunk over its floor', eight['of_floor'], 2.0, False)]


def step_line(row: Mapping[str, Any]) -> str:
    """One line of a table."""
    return (
        f'step  {row["profile"]:20} {row["ms_p50"]:8.2f} ms {row["bytes"] / 1e9:6.2f} GB '
        f'{row["of_floor"]:5.2f} x floor {row["ratio_graph"]:5.2f} x bf16 graph '
        f'{row["ratio_eager"]:5.2f} x bf16 torch'
    )


def _eager(network: OpenVLA, moment: Batch) -> Callable[[], object]:
    batch = moment.to('cuda', torch.bfloat16)
    answer = network.predict_chunk if network.config.head == L1 else network.predict_tokens

    def act() -> None:
        with torch.inference_mode():
            answer(batch, network.patch_features(batch.pixels))

    return act


def _moment(config: OpenVLAConfig) -> Batch:
    side = config.image_size
    pixels = torch.randn(1, config.n_images, 6, side, side)
    tokens = torch.randint(3, config.text_vocab_size, (1, WORDS))
    return Batch(pixels, tokens, torch.ones_like(tokens), None)
