# SPDX-License-Identifier: Apache-2.0
"""sqil-quantize: make low-bit profiles of a checkpoint.

examples:
  sqil-quantize                                         int8, int4 and int3 of the toy-sink policy
  sqil-quantize --bits 4 --dry-run                      what it would write, and the weight error
  sqil-quantize --checkpoint DIR --bits 4 --groups language
  sqil-quantize --method awq --calibration data/episodes --bits 4 3 --asymmetric
  sqil-quantize --method gptq --calibration data/episodes --bits 3 --group-size 32
  sqil-quantize --method smoothquant --calibration data/episodes --bits 8 --activation-bits 8
  sqil-quantize --bits 2 --layers mlp='*.mlp.*'         only what matches, called int2_rtn_mlp
  ros2 param set /vla_policy quantization.profile int4_rtn

A profile is written to <checkpoint>/profiles/<width>_<method>/ and read back before it is put in
place. docs/profiles.md describes the format and the methods.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.digest import weights_digest
from sqil_ros.errors import CalibrationError, ParameterError, SqilError
from sqil_ros.policy.loader import check_checkpoint
from sqil_ros.policy.manifest import read_manifest
from sqil_ros.policy.openvla.checkpoint import load_model, load_processor
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.statistics import read_normalizer
from sqil_ros.quant.activations import ACTIVATION_WIDTHS, InputRule
from sqil_ros.quant.back_ends import AUTO, BACK_ENDS
from sqil_ros.quant.manifest import check_name, grid_variant, profile_name
from sqil_ros.quant.primitives import WHOLE_ROW, WIDTHS, Grid
from sqil_ros.quant.profile import PROFILES_DIRECTORY, write_profile
from sqil_ros.quant.selection import GROUPS, OPTIONAL_GROUPS, select_groups, select_layers
from sqil_ros.quant.size import model_bytes
from sqil_ros.quant.weights import profile_tensors
from sqil_ros.share import share_directory
from sqil_ros.types import Array
from sqil_training.contract_option import add_contract_option
from sqil_training.ptq.action_error import action_error, predicted_actions
from sqil_training.ptq.calibration import Calibration, calibration_of, draw_frames
from sqil_training.ptq.method import Options
from sqil_training.ptq.methods import METHODS
from sqil_training.ptq.quantizer import Result, packed_copy, quantize_model
from sqil_training.ptq.report import Row, table, weight_errors

_REST_DTYPE = torch.bfloat16


@dataclass(frozen=True)
class Source:
    """A checkpoint at full precision, and what may be seen of it.

    Attributes:
        directory: of the checkpoint.
        model: its network.
        contract: hash of the robot's contract.
        calibration: frames, None if none were named.
        actions: (N, 7) what the network does on these frames, normalised.
    """

    directory: Path
    model: OpenVLA
    contract: str
    calibration: Calibration | None
    actions: Array | None


def load_source(args: argparse.Namespace) -> Source:
    """Read the checkpoint and draw the calibration frames.

    Raises:
        CalibrationError: the method needs data and none were named, or they do not do.
        SqilError: the checkpoint or the episodes are unsound.
    """
    static = args.inputs is not None and args.inputs.static
    if args.calibration is None and (METHODS[args.method].needs_data or static):
        what, other = f'--method {args.method}', '--method rtn'
        if static:
            what, other = '--activation static', '--activation dynamic'
        raise CalibrationError(
            f'{what} must see the inputs of every layer, and no data were named; give an episode '
            f'tree with --calibration DIR (sqil-collect makes one), or use {other}'
        )
    contract = Contract.load(args.contract)
    check_checkpoint(args.checkpoint, contract)
    model = load_model(args.checkpoint)
    if args.calibration is None:
        return Source(args.checkpoint, model, contract.hash, None, None)
    dataset = read_manifest(args.checkpoint).dataset
    calibration = calibration_of(
        draw_frames(args.calibration, contract, args.samples, args.seed),
        load_processor(args.checkpoint, dataset, model),
        read_normalizer(args.checkpoint, dataset, 'action'),
        model,
    )
    actions = predicted_actions(model, calibration)
    return Source(args.checkpoint, model, contract.hash, calibration, actions)


def make_profile(source: Source, args: argparse.Namespace, bits: int) -> Row:
    """Quantise at one width and, unless it is a rehearsal, write the profile."""
    groups, all_groups = _chosen_layers(source.model, args)
    grid = Grid(bits, args.group_size, not args.asymmetric)
    variant = grid_variant(grid, args.inputs)
    name = profile_name(args.method, dict.fromkeys(groups, bits), all_groups, variant)
    check_name(name)
    layers = [layer for names in groups.values() for layer in names]
    with tqdm(total=len(layers), desc=name, unit='layer', disable=None) as bar:
        result = quantize_model(
            source.model,
            layers,
            METHODS[args.method],
            Options(grid, args.seed, args.smoothing),
            source.calibration,
            args.inputs,
            bar.update,
        )
    errors = weight_errors(result.errors)
    measured = {'weight_error': round(errors[0], 6)} | _action_figures(source, result, args)
    facts = (*errors, measured.get('action_error'))
    if args.dry_run:
        tensors = profile_tensors(result.model, result.layers, _REST_DTYPE, result.activations)
        disk = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        return Row(name, disk, None, *facts)
    profile = write_profile(
        args.out or source.directory / PROFILES_DIRECTORY,
        name,
        result.model,
        {
            group: {layer: result.layers[layer] for layer in names}
            for group, names in groups.items()
        },
        method=args.method,
        base=weights_digest(source.directory),
        contract=source.contract,
        rest_dtype=_REST_DTYPE,
        back_end=args.back_end,
        measured=measured,
        activations=result.activations,
    )
    return Row(name, profile.disk_bytes, profile.measured['memory_bytes'], *facts)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _arguments(argv)
    try:
        source = load_source(args)
        disk = sum(path.stat().st_size for path in args.checkpoint.glob('*.safetensors'))
        rows = [Row('fp', disk, model_bytes(source.model).total)]
        for bits in args.bits:
            rows.append(make_profile(source, args, bits))
    except (SqilError, OSError) as error:
        print(f'sqil-quantize: {error}', file=sys.stderr)
        return 1
    print(table(rows))
    if source.calibration is not None:
        print(
            f'action error: mean difference to fp on {len(source.calibration)} calibration '
            'frames, normalised actions in -1 to 1'
        )
    if args.dry_run:
        print('nothing was written (--dry-run)')
    else:
        print(f'written to {args.out or args.checkpoint / PROFILES_DIRECTORY}')
    return 0


def _chosen_layers(
    model: OpenVLA, args: argparse.Namespace
) -> tuple[dict[str, tuple[str, ...]], bool]:
    """Layers by group, and whether these are the default groups."""
    if args.layers is None:
        return select_groups(model, args.groups), set(args.groups) == set(GROUPS)
    named: dict[str, tuple[str, ...]] = {}
    for item in args.layers:
        name, separator, patterns = item.partition('=')
        taken = [*GROUPS, *OPTIONAL_GROUPS, *named]
        if not separator or not patterns or name in taken:
            raise ParameterError(
                f"--layers {item!r} must be NAME=PATTERN[,PATTERN] as in mlp='*.mlp.*', with a "
                f'name other than {taken}'
            )
        named[name] = tuple(patterns.split(','))
    return select_layers(model, named, kept=()), False


def _action_figures(source: Source, result: Result, args: argparse.Namespace) -> dict[str, Any]:
    if source.calibration is None or source.actions is None:
        return {}
    packed = packed_copy(result, args.back_end, _REST_DTYPE)
    assert isinstance(packed, OpenVLA)
    error = action_error(predicted_actions(packed, source.calibration), source.actions)
    frames = {'samples': args.samples, 'seed': args.seed}
    return {'action_error': round(error, 6), 'calibration': frames}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='sqil-quantize', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = share_directory() / 'models' / 'toy_sink_openvla'
    parser.add_argument('--checkpoint', type=Path, default=default)
    add_contract_option(parser)
    parser.add_argument('--bits', type=int, nargs='+', default=[8, 4, 3], choices=WIDTHS)
    parser.add_argument('--method', choices=sorted(METHODS), default='rtn')
    parser.add_argument(
        '--group-size', type=int, default=WHOLE_ROW,
        help='inputs that share a scale; 0 for one scale a row',
    )  # fmt: skip
    parser.add_argument('--asymmetric', action='store_true', help='a zero point beside each scale')
    parser.add_argument('--activation-bits', type=int, choices=ACTIVATION_WIDTHS)
    parser.add_argument(
        '--activation', choices=['dynamic', 'static'], default='dynamic',
        help='one step per token, or one per layer from calibration data',
    )  # fmt: skip
    parser.add_argument(
        '--prompt-only', action='store_true',
        help='do not round the inputs of tokens that come alone, as action tokens do',
    )  # fmt: skip
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        '--groups', nargs='+', default=list(GROUPS), choices=[*GROUPS, *OPTIONAL_GROUPS],
        help='layers to quantise; others than vision and language show in the name',
    )  # fmt: skip
    which.add_argument(
        '--layers', nargs='+', metavar='NAME=PATTERN[,PATTERN]',
        help='groups of your own instead; nothing that matches is kept at 16 bits',
    )  # fmt: skip
    parser.add_argument('--calibration', type=Path, metavar='DIR', help='an episode tree')
    parser.add_argument('--samples', type=int, default=128, help='calibration frames')
    parser.add_argument('--seed', type=int, default=0, help='of frames and rotations')
    parser.add_argument(
        '--smoothing', type=float, default=0.5, help="SmoothQuant's exponent, 0 to 1"
    )
    parser.add_argument('--back-end', default=AUTO, choices=[AUTO, *sorted(BACK_ENDS)])
    parser.add_argument('--out', type=Path, help='folder of profiles, <checkpoint>/profiles')
    parser.add_argument('--dry-run', action='store_true', help='measure, but write nothing')
    args = parser.parse_args(argv)
    static = args.activation == 'static'
    args.inputs = None
    if args.activation_bits is not None:
        args.inputs = InputRule(args.activation_bits, static, args.prompt_only)
    elif static or args.prompt_only:
        parser.error(
            '--activation static and --prompt-only are about rounded activations; give '
            '--activation-bits 8 or 4 too'
        )
    if args.samples < 1:
        parser.error(f'--samples {args.samples} gives nothing to calibrate on; give 1 or more')
    return args


if __name__ == '__main__':
    sys.exit(main())
