# SPDX-License-Identifier: Apache-2.0
"""sqil-bench: low-bit products against 16 bits, peers, and what the memory itself can give."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sqil_ros.bench.products import (
    BEYOND_CACHES,
    CONTESTANTS,
    EAGER,
    PREPACKED,
    SINGLE,
    Contestant,
    read_test,
    refusal,
)
from sqil_ros.bench.shapes import PREFILL, SHAPES, Shape
from sqil_ros.bench.steps import STAGES, config_of, runners
from sqil_ros.bench.turns import ratio, take_turns
from sqil_ros.engine.library import level
from sqil_ros.errors import SqilError
from sqil_ros.provenance import provenance

GEMV, GEMM, STEP = 'gemv', 'gemm', 'step'
_READ = 'read'
_EXAMPLES = """examples:
  sqil-bench --stage gemv --model openvla-7b --threads 2 --json docs/results/engine/gemv.json
  sqil-bench --stage step --model tiny --threads 1 --json docs/results/engine/tiny_step.json
  sqil-bench --stage step --model openvla-7b --rounds 3 --candidates 'engine bf16' 'engine W4A8'
  sqil-bench --stage gemm --model tiny --candidates 'engine W4A8' 'engine W4A16'

gemv is one row of activations, as in decoding; gemm as many as a prefill has. Every candidate has
copies of its weights beyond all caches in gemv. step is a whole control step of a network with
random weights. Ratios are medians over rounds in which all take turns; networks of 7 billion
weights run one after the other. docs/benchmarks.md tells how to read the figures.
"""


def measure(
    stage: str, model: str, shape: Shape, names: Sequence[str], threads: int, rounds: int
) -> Iterator[dict[str, Any]]:
    """A row for every candidate at one shape."""
    torch.set_num_threads(threads)
    rows = 1 if stage == GEMV else PREFILL[model]
    beyond = BEYOND_CACHES if stage == GEMV else 0
    x = torch.randn(rows, shape.inputs, generator=torch.Generator().manual_seed(0))
    wanted = dict.fromkeys([EAGER, PREPACKED, *names])
    contestants: dict[str, Contestant] = {}
    for name in wanted:
        if reason := refusal(name, shape):
            print(f'{name} is left out at {shape}: {reason}', file=sys.stderr)
        else:
            contestants[name] = CONTESTANTS[name](shape, x, beyond)
    contestants[_READ] = read_test(threads)
    with tqdm(desc=f'{stage} {shape}', unit='round', disable=None) as bar:
        works = {name: each.work for name, each in contestants.items()}
        times, disturbed = take_turns(works, rounds, threads, bar.update)
    read = _rate(contestants[_READ].bytes, float(np.median(times.pop(_READ))))
    baselines = [name for name in (EAGER, PREPACKED, SINGLE, 'engine bf16') if name in times]
    best = min(baselines, key=lambda name: float(np.median(times[name])))
    for name, own in times.items():
        size, median = contestants[name].bytes, float(np.median(own))
        rate = _rate(size, median)
        yield {
            'model': model,
            'profile': name,
            'stage': stage,
            'shape': str(shape),
            'rows': rows,
            'ms_p50': round(median, 4),
            'ms_p99': round(float(np.percentile(own, 99)), 4),
            'bytes': size,
            'GBps': round(rate, 2),
            'read_GBps': round(read, 2),
            'of_read': round(rate / read, 3),
            'GFLOPs': round(2e-6 * rows * shape.weights / median, 1),
            'ratio_eager': ratio(times[EAGER], own),
            'ratio_best': ratio(times[best], own),
            'best': best,
            'disturbed': disturbed,
        }


def measure_steps(
    model: str, names: Sequence[str], threads: int, rounds: int
) -> Iterator[dict[str, Any]]:
    """A row for every candidate and stage of a control step."""
    torch.set_num_threads(threads)
    config = config_of(model)
    wanted = list(dict.fromkeys(names))
    times: dict[str, list[dict[str, float]]] = {name: [] for name in wanted}
    sizes: dict[str, tuple[int, int]] = {}
    together = {}
    with tqdm(total=len(wanted) * rounds, desc='step', unit='step', disable=None) as bar:
        for name, runner in runners(config, wanted):
            sizes[name] = runner.weight_bytes, runner.resident_bytes
            runner.act()
            if model == 'tiny':
                together[name] = runner.act
                continue
            for _ in range(rounds):
                times[name].append(runner.act())
                bar.update()
        for _ in range(rounds if together else 0):
            for name, act in together.items():
                times[name].append(act())
                bar.update()
    for stage in STAGES:
        spent = {
            name: np.array([found[stage] for found in all_])
            for name, all_ in times.items()
            if stage in all_[0]
        }
        full = [name for name in (EAGER, 'engine bf16') if name in spent]
        best = min(full, key=lambda name: float(np.median(spent[name])), default=None)
        for name, own in spent.items():
            yield {
                'model': model,
                'profile': name,
                'stage': stage,
                'ms_p50': round(float(np.median(own)), 3),
                'ms_p90': round(float(np.percentile(own, 90)), 3),
                'ms_p99': round(float(np.percentile(own, 99)), 3),
                'bytes': sizes[name][0],
                'resident_bytes': sizes[name][1],
                'ratio_eager': ratio(spent[EAGER], own) if EAGER in spent else None,
                'ratio_best': ratio(spent[best], own) if best else None,
                'best': best,
            }


def _step_line(row: dict[str, Any]) -> str:
    ratios = [
        f'{row[key]:6.2f} x {what}'
        for key, what in (('ratio_eager', 'eager'), ('ratio_best', f'{row["best"]}'))
        if row[key] is not None
    ]
    return (
        f'{row["stage"]:8} {row["profile"]:14} {row["ms_p50"]:10.2f} ms '
        f'{row["bytes"] / 1e6:9.1f} MB of weights {row["resident_bytes"] / 1e6:9.1f} MB resident  '
        + '  '.join(ratios)
    )


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _rate(size: int, milliseconds: float) -> float:
    """Gigabytes per second."""
    return size / milliseconds / 1e6


def _line(row: dict[str, Any]) -> str:
    return (
        f'{row["stage"]:5} {row["shape"]:12} {row["profile"]:18} {row["ms_p50"]:9.3f} ms '
        f'{row["GBps"]:7.1f} GB/s {row["of_read"]:6.0%} of read {row["GFLOPs"]:8.1f} GFLOP/s  '
        f'{row["ratio_eager"]:6.2f} x eager  {row["ratio_best"]:5.2f} x best unquantised'
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, write a file."""
    parser = argparse.ArgumentParser(
        prog='sqil-bench',
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stages = (GEMV, GEMM, STEP)
    parser.add_argument('--stage', choices=stages, nargs='+', default=stages)
    parser.add_argument('--model', choices=sorted(SHAPES), default='openvla-7b')
    parser.add_argument(
        '--candidates', choices=list(CONTESTANTS), nargs='+', default=list(CONTESTANTS)
    )
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=30)
    parser.add_argument('--json', type=Path, help='where to write the result')
    args = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    try:
        for stage in args.stage:
            if stage == STEP:
                names = [n for n in args.candidates if n == EAGER or n.startswith('engine')]
                found = list(measure_steps(args.model, names, args.threads, args.rounds))
                print(*map(_step_line, found), sep='\n', flush=True)
                rows += found
                continue
            for shape in SHAPES[args.model]:
                found = list(
                    measure(stage, args.model, shape, args.candidates, args.threads, args.rounds)
                )
                print(*map(_line, found), sep='\n', flush=True)
                rows += found
    except SqilError as error:
        print(f'sqil-bench: {type(error).__name__}: {error}', file=sys.stderr)
        return 1
    if args.json:
        content = {
            'device': provenance()['machine'],
            'level': level(),
            'threads': args.threads,
            'read_GBps': _median([row['read_GBps'] for row in rows if 'read_GBps' in row]),
            'rows': rows,
            'provenance': provenance(),
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
        print(f'written to {args.json}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
