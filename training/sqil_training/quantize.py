# SPDX-License-Identifier: Apache-2.0
"""sqil-quantize: make low-bit profiles of a checkpoint.

examples:
  sqil-quantize                                         int8, int4 and int3 of the toy-sink policy
  sqil-quantize --bits 4 --dry-run                      what it would write, and the weight error
  sqil-quantize --checkpoint DIR --bits 4 --groups language
  ros2 param set /vla_policy quantization.profile int4_rtn

A profile is written to <checkpoint>/profiles/<width>_<method>/ and read back before it is put in
place. docs/profiles.md describes the format.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.digest import weights_digest
from sqil_ros.errors import ProfileError, SqilError
from sqil_ros.policy.loader import check_checkpoint
from sqil_ros.policy.openvla.checkpoint import load_model
from sqil_ros.quant.back_ends import AUTO, BACK_ENDS
from sqil_ros.quant.manifest import profile_name
from sqil_ros.quant.primitives import WIDTHS, Quantized, dequantize, quantize
from sqil_ros.quant.profile import PROFILES_DIRECTORY, write_profile
from sqil_ros.quant.selection import GROUPS, select_layers
from sqil_ros.quant.size import model_bytes
from sqil_ros.quant.weights import profile_tensors
from sqil_ros.share import share_directory

Method = Callable[[nn.Module, Sequence[str], int], Iterator[tuple[str, Quantized]]]
_REST_DTYPE = torch.bfloat16


def round_to_nearest(
    model: nn.Module, layers: Sequence[str], bits: int
) -> Iterator[tuple[str, Quantized]]:
    """Integer weights of each layer, without calibration."""
    for name in layers:
        try:
            yield name, quantize(_weight(model, name), bits)
        except ProfileError as error:
            raise ProfileError(f'layer {name}: {error}') from error


METHODS: dict[str, Method] = {'rtn': round_to_nearest}


@dataclass(frozen=True)
class Row:
    """One line of the report: bytes, and errors relative to the weights' own norm."""

    name: str
    disk: int
    memory: int | None
    error: float = 0.0
    worst: float = 0.0
    worst_layer: str = ''


def quantize_model(
    model: nn.Module, groups: Mapping[str, Sequence[str]], method: str, bits: int
) -> dict[str, dict[str, Quantized]]:
    """Integer weights of every layer, by group; shows a progress bar on a terminal."""
    total = sum(len(layers) for layers in groups.values())
    with tqdm(total=total, desc=f'int{bits}_{method}', unit='layer', disable=None) as bar:
        quantized: dict[str, dict[str, Quantized]] = {}
        for group, layers in groups.items():
            quantized[group] = {}
            for name, integers in METHODS[method](model, layers, bits):
                quantized[group][name] = integers
                bar.update()
    return quantized


def weight_errors(model: nn.Module, layers: Mapping[str, Quantized]) -> tuple[float, float, str]:
    """Relative Frobenius error of all layers together and of the worst, with its name."""
    errors, norms = {}, {}
    for name, quantized in layers.items():
        weight = _weight(model, name).detach().float()
        errors[name] = float((weight - dequantize(quantized)).square().sum())
        norms[name] = float(weight.square().sum())
    relative = {name: math.sqrt(errors[name] / (norms[name] or 1.0)) for name in errors}
    worst = max(relative, key=lambda name: relative[name])
    overall = math.sqrt(sum(errors.values()) / (sum(norms.values()) or 1.0))
    return overall, relative[worst], worst


def make_profile(model: nn.Module, args: argparse.Namespace, contract: str, bits: int) -> Row:
    """Quantise at one width and, unless it is a rehearsal, write the profile."""
    groups = select_layers(model, {group: GROUPS[group] for group in args.groups})
    quantized = quantize_model(model, groups, args.method, bits)
    layers = {name: q for group in quantized.values() for name, q in group.items()}
    overall, worst, where = weight_errors(model, layers)
    all_groups = set(args.groups) == set(GROUPS)
    name = profile_name(args.method, dict.fromkeys(groups, bits), all_groups)
    if args.dry_run:
        tensors = profile_tensors(model, layers, _REST_DTYPE).values()
        disk = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return Row(name, disk, None, overall, worst, where)
    profile = write_profile(
        args.out or args.checkpoint / PROFILES_DIRECTORY,
        name,
        model,
        quantized,
        method=args.method,
        base=weights_digest(args.checkpoint),
        contract=contract,
        rest_dtype=_REST_DTYPE,
        back_end=args.back_end,
        measured={'weight_error': round(overall, 6)},
    )
    return Row(name, profile.disk_bytes, profile.measured['memory_bytes'], overall, worst, where)


def table(rows: Sequence[Row]) -> str:
    """The report; shares are of the first row, the full precision."""
    full = rows[0]
    lines = [
        f'{"profile":24} {"disk MB":>8} {"of fp":>6} {"memory MB":>10} {"of fp":>6} '
        f'{"weight error":>12}  worst layer'
    ]
    for row in rows:
        memory, share = ('-', '-')
        if row.memory is not None and full.memory:
            memory, share = f'{row.memory / 1e6:.2f}', f'{row.memory / full.memory:.0%}'
        worst = f'{row.worst:.4f} {row.worst_layer}' if row.worst_layer else ''
        lines.append(
            f'{row.name:24} {row.disk / 1e6:8.2f} {row.disk / full.disk:6.0%} {memory:>10} '
            f'{share:>6} {row.error:12.4f}  {worst}'
        )
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _arguments(argv)
    contract = Contract.load()
    try:
        check_checkpoint(args.checkpoint, contract)
        model = load_model(args.checkpoint)
        disk = sum(path.stat().st_size for path in args.checkpoint.glob('*.safetensors'))
        rows = [Row('fp', disk, model_bytes(model).total)]
        for bits in args.bits:
            rows.append(make_profile(model, args, contract.hash, bits))
    except (SqilError, OSError) as error:
        print(f'sqil-quantize: {error}', file=sys.stderr)
        return 1
    print(table(rows))
    if args.dry_run:
        print('nothing was written (--dry-run)')
    else:
        print(f'written to {args.out or args.checkpoint / PROFILES_DIRECTORY}')
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='sqil-quantize', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = share_directory() / 'models' / 'toy_sink_openvla'
    parser.add_argument('--checkpoint', type=Path, default=default)
    parser.add_argument('--bits', type=int, nargs='+', default=[8, 4, 3], choices=WIDTHS)
    parser.add_argument('--method', choices=sorted(METHODS), default='rtn')
    parser.add_argument(
        '--groups', nargs='+', default=list(GROUPS), choices=list(GROUPS),
        help='layers to quantise; fewer than all are added to the name of the profile',
    )  # fmt: skip
    parser.add_argument('--back-end', default=AUTO, choices=[AUTO, *sorted(BACK_ENDS)])
    parser.add_argument('--out', type=Path, help='folder of profiles, <checkpoint>/profiles')
    parser.add_argument('--dry-run', action='store_true', help='measure, but write nothing')
    return parser.parse_args(argv)


def _weight(model: nn.Module, name: str) -> torch.Tensor:
    weight = model.get_submodule(name).weight
    assert isinstance(weight, torch.Tensor)
    return weight


if __name__ == '__main__':
    sys.exit(main())
