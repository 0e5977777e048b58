# SPDX-License-Identifier: Apache-2.0
"""make bench-gpu: products and control steps of openvla-7b and its OFT on one NVIDIA GPU."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sqil_ros.bench.gpu.floors import Bar
from sqil_ros.bench.gpu.products import compare_products, measured_read_rate, product_line
from sqil_ros.bench.gpu.steps import bars, chunk_bars, compare_steps, step_line
from sqil_ros.bench.shapes import CHUNK
from sqil_ros.errors import EngineError, SqilError
from sqil_ros.policy.openvla.config import with_l1_head
from sqil_ros.policy.openvla.gpu import check_gpu, named_gpu_errors
from sqil_ros.policy.openvla.random_model import openvla_7b
from sqil_ros.provenance import provenance

PRODUCTS, STEPS, CHUNKS = STAGES = 'products', 'steps', 'chunks'
_DEVICE = torch.device('cuda')


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; the status is 1 without a GPU, and 2 if a bar is missed."""
    parser = argparse.ArgumentParser(prog='python -m sqil_ros.bench.gpu', description=__doc__)
    parser.add_argument('--stage', choices=STAGES, nargs='+', default=STAGES)
    parser.add_argument('--rounds', type=int, default=50)
    parser.add_argument('--layers', type=int, default=32, help='of the decoder; 32 in openvla-7b')
    parser.add_argument('--folder', type=Path, default=Path('docs/results/engine'))
    args = parser.parse_args(argv)
    missed: list[Bar] = []
    try:
        require_gpu()
        with named_gpu_errors(_DEVICE):
            read = measured_read_rate(args.rounds)
            print(f'{torch.cuda.get_device_name()} reads {read:.0f} GB/s', flush=True)
            if PRODUCTS in args.stage:
                rows = []
                for row in compare_products(args.rounds):
                    print(product_line(row), flush=True)
                    rows.append(row)
                _write(args.folder / 'gpu_products.json', read, rows, [])
            tokens = openvla_7b(args.layers)
            for stage, config, promised, file in (
                (STEPS, tokens, bars, 'gpu_step.json'),
                (CHUNKS, with_l1_head(tokens, CHUNK), chunk_bars, 'gpu_oft_step.json'),
            ):
                if stage not in args.stage:
                    continue
                rows = compare_steps(config, args.rounds, read)
                found = promised(rows)
                print(*map(step_line, rows), *found, sep='\n', flush=True)
                missed += [bar for bar in found if not bar.reached]
                _write(args.folder / file, read, rows, found)
    except SqilError as error:
        print(f'bench-gpu: {type(error).__name__}: {error}', file=sys.stderr)
        return 1
    return 2 if missed else 0


def require_gpu() -> None:
    """Everything that a measurement needs.

    Raises:
        EngineError: naming what is missing.
    """
    check_gpu(_DEVICE)
    if importlib.util.find_spec('triton') is None:
        raise EngineError('Triton is not installed; it comes with torch for CUDA.')
    from sqil_ros.quant.cuda import interpreted

    if interpreted():
        raise EngineError('TRITON_INTERPRET is set; unset it, or kernels run on the CPU.')


def _write(path: Path, read: float, rows: Sequence[dict[str, Any]], found: Sequence[Bar]) -> None:
    properties = torch.cuda.get_device_properties(_DEVICE)
    content = {
        'device': {
            'name': properties.name,
            'multiprocessors': properties.multi_processor_count,
            'memory_bytes': properties.total_memory,
            'cuda': torch.version.cuda,
        },
        'read_GBps': round(read, 1),
        'bars': [vars(bar) | {'reached': bar.reached} for bar in found],
        'rows': list(rows),
        'provenance': provenance(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    print(f'written to {path}')


if __name__ == '__main__':
    sys.exit(main())
