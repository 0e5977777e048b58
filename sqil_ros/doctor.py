# SPDX-License-Identifier: Apache-2.0
"""Says what will compute each profile on this machine, why, and whether it is worth it.

A profile that is slower than the policy at 16 bits gets a warning, and the status is 1. The
policy at 16 bits is timed as this package runs it (`fp`), and as torch alone does in bfloat16.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sqil_ros.contract import DEFAULT_PATH, Contract
from sqil_ros.engine.library import LEVELS, level, library
from sqil_ros.errors import EngineError, SqilError
from sqil_ros.policy.loader import FULL_PRECISION, check_checkpoint, load_policy
from sqil_ros.policy.openvla.checkpoint import load_model, load_processor
from sqil_ros.policy.openvla.engine_weights import EngineWeights
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.statistics import read_normalizer
from sqil_ros.policy.step_times import random_observations, step_times, times_faster
from sqil_ros.provenance import provenance
from sqil_ros.quant.profile import PROFILES_DIRECTORY
from sqil_ros.share import share_directory
from sqil_ros.types import Array

EAGER = 'bf16, torch'
_EXAMPLES = """examples:
  sqil-doctor                                          all profiles of the package's policy
  sqil-doctor --checkpoint DIR --profiles int4_rtn --threads 2
"""
_INSTRUCTION = 'put the eggplant into the plate'


@dataclass(frozen=True)
class Finding:
    """About one profile.

    Attributes:
        profile: its name.
        back_end: who multiplies.
        reason: why not the engine; empty where it does.
        p50_ms: median time of a control step [ms].
        faster: how many times as fast as the fastest policy at 16 bits.
        weight_bytes: memory of the weights as loaded.
    """

    profile: str
    back_end: str
    reason: str
    p50_ms: float
    faster: float
    weight_bytes: int

    @property
    def warning(self) -> str:
        """Why nobody should use the profile here; empty where one may."""
        if self.faster >= 1.0 or self.profile in (FULL_PRECISION, EAGER):
            return ''
        return (
            f'{self.profile} takes {1.0 / self.faster:.2f} times as long as 16 bits on this '
            'machine; it saves memory, not time. Use fp, or see why above.'
        )


def machine() -> list[str]:
    """Lines about what there is to compute with."""
    facts = provenance()['machine']
    gigabytes = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    lines = [f'processor  {facts["processor"]}, {facts["cores"]} cores, {gigabytes:.0f} GiB']
    if library() is None:
        lines.append('engine     none: torch computes everything; build it with `make setup`')
    else:
        better = LEVELS[: LEVELS.index(level())]
        lacks = f'; this processor or build lacks {", ".join(better)}' if better else ''
        lines.append(f'engine     {level()}{lacks}')
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    lines.append(f'GPU        {", ".join(devices) or "none that this torch can use"}')
    lines.append(f'torch      {torch.__version__}')
    if facts['load'] > 0.5:
        lines.append(f'load       {facts["load"]}: other work is in the way of the times below')
    return lines


def examine(
    checkpoint: Path, profiles: Sequence[str], contract: Contract, rounds: int
) -> list[Finding]:
    """Load and time profiles, beside both ways to compute at 16 bits.

    Raises:
        SqilError: checkpoint or profile are unsound.
    """
    manifest = check_checkpoint(checkpoint, contract)
    policies = {EAGER: eager(checkpoint, manifest.dataset)}
    for name in dict.fromkeys([FULL_PRECISION, *profiles]):
        policy = load_policy(checkpoint, name, contract)
        assert isinstance(policy, OpenVLAPolicy)
        policies[name] = policy
    side = policies[EAGER].model.config.image_size
    times = step_times(policies, random_observations(side, 20, _INSTRUCTION), rounds)
    return [_finding(name, policy, times) for name, policy in policies.items()]


def eager(checkpoint: Path, dataset: str) -> OpenVLAPolicy:
    """The policy as torch computes it in bfloat16, operator by operator."""
    model = load_model(checkpoint, torch.bfloat16)
    processor = load_processor(checkpoint, dataset, model)
    actions = read_normalizer(checkpoint, dataset, 'action')
    return OpenVLAPolicy(model, processor, actions, EAGER, EAGER)


def _finding(name: str, policy: OpenVLAPolicy, times: Mapping[str, Array]) -> Finding:
    best = min((EAGER, FULL_PRECISION), key=lambda full: float(np.median(times[full])))
    described = policy.describe()
    native = described.back_end.startswith('engine')
    return Finding(
        profile=name,
        back_end=described.back_end,
        reason='' if native else _refusal(policy),
        p50_ms=round(float(np.median(times[name])), 2),
        faster=times_faster(times[best], times[name]),
        weight_bytes=described.weight_bytes,
    )


def _refusal(policy: OpenVLAPolicy) -> str:
    if policy.profile == EAGER:
        return 'for comparison'
    if library() is None:
        return 'the engine is not built'
    try:
        EngineWeights(policy.model)
    except EngineError as error:
        return str(error)
    return 'the engine was switched off'


def _table(findings: Sequence[Finding]) -> list[str]:
    lines = [f'{"profile":28} {"step [ms]":>9} {"16 bits / it":>13} {"MB":>6}  computed by']
    for found in findings:
        who = found.back_end + (f', because {found.reason}' if found.reason else '')
        lines.append(
            f'{found.profile:28} {found.p50_ms:9.2f} {found.faster:13.2f} '
            f'{found.weight_bytes / 1e6:6.2f}  {who}'
        )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Print what there is; the status is 1 if a profile is slower than 16 bits, or unsound."""
    parser = argparse.ArgumentParser(
        prog='sqil-doctor',
        description=f'sqil-doctor: {__doc__}',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = share_directory() / 'models' / 'toy_sink_openvla'
    parser.add_argument('--checkpoint', type=Path, default=default)
    parser.add_argument('--contract', type=Path, default=DEFAULT_PATH, help="the package's")
    parser.add_argument('--profiles', nargs='*', help='those of the checkpoint if left out')
    parser.add_argument('--threads', type=int, default=1, help='as the parameter of the node')
    parser.add_argument('--rounds', type=int, default=30, help='timed steps of each profile')
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    print(*machine(), '', sep='\n', flush=True)
    folder = args.checkpoint / PROFILES_DIRECTORY
    names = args.profiles or sorted(path.parent.name for path in folder.glob('*/profile.yaml'))
    try:
        findings = examine(args.checkpoint, names, Contract.load(args.contract), args.rounds)
    except SqilError as error:
        print(f'sqil-doctor: {type(error).__name__}: {error}', file=sys.stderr)
        return 1
    print(*_table(findings), sep='\n')
    warnings = [found.warning for found in findings if found.warning]
    print(*(f'warning: {warning}' for warning in warnings), sep='\n')
    return int(bool(warnings))


if __name__ == '__main__':
    sys.exit(main())
