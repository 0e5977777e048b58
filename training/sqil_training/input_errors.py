# SPDX-License-Identifier: Apache-2.0
"""python -m sqil_training.input_errors: what rounding the inputs of each layer does to actions.

examples:
  python -m sqil_training.input_errors --profile int4_rtn --held data/held
  python -m sqil_training.input_errors --profile int4_rtn --held data/held --bits 4 \
      --json docs/results/engine/input_errors.json

One layer after the other rounds its inputs (a step per token) while all others keep theirs; then
all together, and all in prompts alone. Compared with the same profile whose inputs are in floating
point, on the same held-out frames:

  action_error  mean absolute difference of the greedy actions, normalised to [-1, 1]
  distance      mean squared difference of the logits of the demonstrated action tokens
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.errors import ProfileError, SqilError
from sqil_ros.policy.loader import load_policy
from sqil_ros.policy.manifest import read_manifest
from sqil_ros.policy.openvla.checkpoint import load_processor
from sqil_ros.policy.openvla.config import require_tokens
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.statistics import read_normalizer
from sqil_ros.provenance import provenance
from sqil_ros.quant.activations import ACTIVATION_WIDTHS, InputRule
from sqil_ros.quant.size import packed_layers
from sqil_ros.share import share_directory
from sqil_training.contract_option import add_contract_option
from sqil_training.ptq.action_error import action_error, predicted_actions
from sqil_training.ptq.calibration import Calibration, calibration_of, draw_frames
from sqil_training.whole_file import whole_file

ALL, PROMPTS = 'all', 'all, prompts only'


def input_errors(model: OpenVLA, frames: Calibration, bits: int) -> list[dict[str, Any]]:
    """A row for every packed layer, and two for all of them.

    Args:
        model: whose layers do not round their inputs.
        frames: that actions are compared on.
        bits: of rounded inputs, 4 or 8.

    Raises:
        ProfileError: no layer is packed, or one rounds its inputs already.
    """
    layers = packed_layers(model)
    if not layers or any(layer.input_rule is not None for layer in layers.values()):
        raise ProfileError(
            'layers are not packed, or round their inputs already; name a profile that was made '
            'without --activation-bits.'
        )
    actions, logits = predicted_actions(model, frames), _logits(model, frames)
    rule, prompts = InputRule(bits), InputRule(bits, prompt_only=True)
    cases = [(name, [name], rule) for name in layers]
    cases += [(ALL, [*layers], rule), (PROMPTS, [*layers], prompts)]
    rows = []
    for what, names, chosen in tqdm(cases, desc='layers', unit='layer', disable=None):
        for name in names:
            layers[name].input_rule = chosen
        found, other = predicted_actions(model, frames), _logits(model, frames)
        rows.append(
            {
                'layer': what,
                'action_error': round(action_error(found, actions), 6),
                'distance': round(float((other - logits).square().mean()), 6),
            }
        )
        for name in names:
            layers[name].input_rule = None
    return rows


@torch.inference_mode()
def _logits(model: OpenVLA, frames: Calibration) -> Tensor:
    """(N, 7, bins), the demonstrated actions being given."""
    found = []
    for batch, tokens in frames.batches:
        states = model.action_states(batch, tokens, model.patch_features(batch.pixels))
        found.append(model.action_logits(states).float())
    return torch.cat(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        contract = Contract.load(args.contract)
        policy = load_policy(args.checkpoint, args.profile, contract, engine='torch')
        assert isinstance(policy, OpenVLAPolicy)
        require_tokens(policy.model.config, 'The distance of logits')
        drawn = draw_frames(args.held, contract, args.frames, args.seed)
        dataset = read_manifest(args.checkpoint).dataset
        normalizer = read_normalizer(args.checkpoint, dataset, 'action')
        processor = load_processor(args.checkpoint, dataset, policy.model)
        frames = calibration_of(drawn, processor, normalizer, policy.model)
        rows = input_errors(policy.model, frames, args.bits)
    except SqilError as error:
        print(f'input_errors: {error}', file=sys.stderr)
        return 1
    order = np.argsort([-row['distance'] for row in rows])
    for row in (rows[i] for i in order):
        print(f'{row["layer"]:56s} {row["action_error"]:10.5f} {row["distance"]:12.6f}')
    if args.json:
        facts = {'profile': args.profile, 'input_bits': args.bits, 'frames': len(frames)}
        content = facts | {'seed': args.seed, 'layers': rows, 'provenance': provenance()}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(args.json) as file:
            file.write((json.dumps(content, indent=1) + '\n').encode())
        print(f'written to {args.json}')
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m sqil_training.input_errors',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--checkpoint', type=Path, default=share_directory() / 'models' / 'toy_sink_openvla')
    add('--profile', default='int4_rtn')
    add('--held', type=Path, required=True, help='an episode tree that nobody was trained with')
    add('--frames', type=int, default=256)
    add('--seed', type=int, default=0, help='of the choice of frames')
    add('--bits', type=int, choices=ACTIVATION_WIDTHS, default=8, help='of rounded inputs')
    add('--json', type=Path, help='where to write the result')
    add_contract_option(parser)
    return parser


if __name__ == '__main__':
    sys.exit(main())
