# SPDX-License-Identifier: Apache-2.0
"""How much faster a policy acts in the engine than in torch.

python -m sqil_ros.policy.openvla.engine_bench --json docs/results/engine/step.json

Every width is rounded to nearest from the checkpoint's own weights. Candidates take turns at the
same observation and the ratio is taken turn by turn, so that a disturbance of the machine meets
both; the first turns warm up and do not count.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sqil_ros.engine.library import level
from sqil_ros.policy.manifest import read_manifest
from sqil_ros.policy.openvla.checkpoint import load_model, load_processor
from sqil_ros.policy.openvla.engine_step import EngineStep
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.statistics import read_normalizer
from sqil_ros.policy.step_times import random_observations
from sqil_ros.provenance import provenance
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.selection import select_layers
from sqil_ros.share import share_directory
from sqil_ros.timing import Spans

FULL = 0
WIDTHS = (FULL, 8, 4, 3, 2)
_WARM_UP = 5
_INSTRUCTION = 'put the eggplant into the plate'
# Who multiplies packed weights while torch does everything else; 'engine' does everything.
_TORCH, _KERNELS, _ENGINE = 'torch', 'torch, engine kernels', 'engine'
_BACK_ENDS = {_TORCH: 'torch_cpu', _KERNELS: 'cpu', _ENGINE: 'cpu'}
_STAGES = ('preprocess', 'vision', 'decode', 'step')


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and write a file."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0] if __doc__ else None)
    checkpoint = share_directory() / 'models' / 'toy_sink_openvla'
    parser.add_argument('--checkpoint', type=Path, default=checkpoint)
    parser.add_argument(
        '--widths', type=int, nargs='+', default=WIDTHS, help='0 is full precision'
    )
    parser.add_argument('--turns', type=int, default=60, help='of every candidate')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--json', type=Path, help='where to write the result')
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    rows = []
    for bits in args.widths:
        measured = measure(candidates(args.checkpoint, bits), bits, args.turns)
        print(*map(_line, measured), sep='\n', flush=True)
        rows += measured
    result = {'level': level(), 'threads': args.threads, 'turns': args.turns, 'rows': rows}
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({'provenance': provenance(), **result}, indent=1)
        args.json.write_text(text + '\n', encoding='utf-8')
    return 0


def candidates(checkpoint: Path, bits: int) -> dict[str, OpenVLAPolicy]:
    """A policy of one width for every way to compute it."""
    dataset = read_manifest(checkpoint).dataset
    actions = read_normalizer(checkpoint, dataset, 'action')
    policies = {}
    for name, back_end in _BACK_ENDS.items():
        if bits == FULL and name == _KERNELS:
            continue
        model = load_model(checkpoint)
        if bits != FULL:
            _pack(model, bits, back_end)
        step = EngineStep(model) if name == _ENGINE else None
        processor = load_processor(checkpoint, dataset, model)
        policies[name] = OpenVLAPolicy(model, processor, actions, str(bits), name, step=step)
    return policies


def measure(policies: dict[str, OpenVLAPolicy], bits: int, turns: int) -> list[dict[str, Any]]:
    """One row for each candidate and stage: milliseconds, and torch's time over its own."""
    size = next(iter(policies.values())).model.config.image_size
    observations = random_observations(size, _WARM_UP + turns, _INSTRUCTION)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in policies}
    for turn, observation in enumerate(observations):
        for name, policy in policies.items():
            spans = Spans()
            with spans('step'):
                policy.act_batch([observation], spans)
            if turn >= _WARM_UP:
                found[name].append(spans.milliseconds)
    return [
        _row(bits, name, stage, found) for stage in _STAGES for name in policies if name != _TORCH
    ]


def _row(
    bits: int, name: str, stage: str, found: dict[str, list[dict[str, float]]]
) -> dict[str, Any]:
    own = np.array([spans[stage] for spans in found[name]])
    torchs = np.array([spans[stage] for spans in found[_TORCH]])
    return {
        'profile': 'fp' if bits == FULL else f'int{bits}',
        'candidate': name,
        'stage': stage,
        'ms_p50': round(float(np.median(own)), 3),
        'ms_p99': round(float(np.percentile(own, 99)), 3),
        'torch_ms_p50': round(float(np.median(torchs)), 3),
        'ratio': round(float(np.median(torchs / own)), 2),
    }


def _line(row: dict[str, Any]) -> str:
    return (
        f'{row["profile"]:5} {row["stage"]:11} {row["candidate"]:22} {row["ms_p50"]:8.2f} ms, '
        f'torch {row["torch_ms_p50"]:8.2f} ms, {row["ratio"]:6.2f} times as fast'
    )


def _pack(model: OpenVLA, bits: int, back_end: str) -> None:
    """Round the layers of a profile to nearest."""
    for names in select_layers(model).values():
        for name in names:
            parent, _, child = name.rpartition('.')
            layer = model.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            setattr(
                model.get_submodule(parent),
                child,
                PackedLinear.from_linear(layer, bits, back_end),
            )


if __name__ == '__main__':
    raise SystemExit(main())
