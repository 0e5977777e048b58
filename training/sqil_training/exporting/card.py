# SPDX-License-Identifier: Apache-2.0
"""The model card of an export: only what a manifest, a run or a report says.

A figure that none of them has is written as *not measured*; nothing is looked up or guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqil_ros.policy.manifest import CheckpointManifest
from sqil_ros.quant.activations import InputRule
from sqil_ros.quant.manifest import LayerGroup, Profile
from sqil_training.exporting.pack_quantized import EVERY_VERSION
from sqil_training.exporting.report import Report
from sqil_training.exporting.trained_run import run_facts

NOT_MEASURED = 'not measured'
_FRONT = """---
library_name: transformers
tags:
- robotics
- compressed-tensors
---
"""
_LOAD = """```python
import torch
from sqil_ros.policy.openvla.model import OpenVLA  # the network; compressed-tensors must be there

model = OpenVLA.from_pretrained('.', dtype=torch.float32)  # scales are float32
model.hf_quantizer.compressor.decompress_model(model)
```"""
_ADAPT = """The integers alone are another policy; the change in `adapter/` belongs to them:

```python
from peft import PeftModel

model = PeftModel.from_pretrained(model, 'adapter').base_model.model
```"""


@dataclass(frozen=True)
class Facts:
    """What a card is made of.

    Attributes:
        profile: manifest of the profile, as sqil-quantize or sqil-export wrote it.
        checkpoint: manifest of its full precision.
        linear_layers: how many the network has.
        weight_bytes: of the exported weights.
        full_bytes: of the weights at full precision.
        report: on held-out frames; None if none was made.
        made_by: see :func:`sqil_ros.provenance.provenance`.
    """

    profile: Profile
    checkpoint: CheckpointManifest
    linear_layers: int
    weight_bytes: int
    full_bytes: int
    report: Report | None
    made_by: Mapping[str, Any]


def card(facts: Facts) -> str:
    """The content of ``README.md``."""
    sections = [
        f'{_FRONT}\n# {facts.profile.name} of {facts.checkpoint.name}',
        "A vision-language-action policy with low-bit weights in compressed-tensors' "
        '`pack-quantized` format. `profile.yaml` lists its layers and the hash of every file.',
        _table(_identity(facts)),
        '## How to read it',
        _LOAD,
        *([_ADAPT] if _rank(facts.profile.groups) else []),
        '## Training',
        *_training(run_facts(facts.profile)),
        '## Figures',
        *_figures(facts),
        '## Made by',
        _table(_maker(facts.made_by)),
    ]
    return '\n\n'.join(sections) + '\n'


def _identity(facts: Facts) -> list[tuple[str, str]]:
    profile, checkpoint = facts.profile, facts.checkpoint
    count = sum(len(group.layers) for group in profile.groups)
    rules = {group.inputs for group in profile.groups}
    rank = _rank(profile.groups)
    return [
        ('base checkpoint', f'{checkpoint.name}, `{checkpoint.digest[:16]}`'),
        ('its weights', f'`{profile.base[:16]}`'),
        ('trained for the robot of contract', f'`{profile.contract}`'),
        ('method', profile.method),
        ('bits', '; '.join(map(_bits, profile.groups))),
        ('quantised', f'{count} of {facts.linear_layers} linear layers'),
        ('everything else', profile.rest_dtype),
        ('activations', ', '.join(sorted(map(_inputs, rules)))),
        ('low-rank change', f'rank {rank}, in `adapter/`' if rank else 'none'),
        ('bytes of the weights', _share(facts.weight_bytes, facts.full_bytes)),
        ('compressed-tensors', _versions(profile.groups)),
    ]


def _training(run: Mapping[str, Any] | None) -> list[str]:
    if run is None:
        return ['Not fine-tuned after quantisation, as far as its manifest says.']
    settings = [(f'`{name}`', f'{value}') for name, value in run['settings'].items()]
    rows = [('from', str(run['base'])), ('command', _code(run['command'])), *settings]
    return [_table(rows)]


def _figures(facts: Facts) -> list[str]:
    measured = facts.profile.measured
    rows = [
        ('weight error (relative, Frobenius norm)', _number(measured, 'weight_error')),
        ('action error on calibration frames, which the method saw', _calibration(measured)),
        ('memory of the weights as sqil_ros loads them', _bytes(measured.get('memory_bytes'))),
        ('success in closed loop', NOT_MEASURED),
        ('latency', NOT_MEASURED),
    ]
    if facts.report is None:
        rows.append(('parity of fake, packed and executed on held-out frames', NOT_MEASURED))
        return [_table(rows)]
    return [_table(rows), '### Parity on held-out frames', facts.report.table]


def _maker(made_by: Mapping[str, Any]) -> list[tuple[str, str]]:
    commit = str(made_by['commit']) or 'outside a git checkout'
    changed = ', with changes' if made_by['modified'] else ''
    versions = ', '.join(f'{name} {version}' for name, version in made_by['versions'].items())
    return [
        ('command', _code(made_by['command'])),
        ('commit', commit + changed),
        ('date', str(made_by['date'])),
        ('versions', versions),
    ]


def _bits(group: LayerGroup) -> str:
    scales = 'a scale per row'
    if group.group_size:
        scales = f'a scale per {group.group_size} inputs'
    zero = '' if group.symmetric else ', zero points'
    return f'{group.name} {group.bits} ({scales}{zero})'


def _inputs(rule: InputRule | None) -> str:
    if rule is None:
        return 'floating point'
    kind = 'static steps' if rule.static else 'a step per token'
    return f'{rule.bits} bits ({kind}{", prompts only" if rule.prompt_only else ""})'


def _rank(groups: Sequence[LayerGroup]) -> int:
    return max(group.rank for group in groups)


def _versions(groups: Sequence[LayerGroup]) -> str:
    odd = sorted({group.bits for group in groups} - set(EVERY_VERSION))
    return f'0.18 or later, for {odd[0]} bits' if odd else 'any version'


def _calibration(measured: Mapping[str, Any]) -> str:
    frames = measured.get('calibration')
    number = _number(measured, 'action_error')
    return f'{number}, {frames["samples"]} frames' if frames else number


def _number(measured: Mapping[str, Any], name: str) -> str:
    value = measured.get(name)
    return f'{value:.4f}' if isinstance(value, float | int) else NOT_MEASURED


def _bytes(count: int | None) -> str:
    return NOT_MEASURED if count is None else f'{count / 1e6:.2f} MB'


def _share(count: int, whole: int) -> str:
    return f'{_bytes(count)}, {count / whole:.0%} of full precision ({_bytes(whole)})'


def _code(command: str) -> str:
    return f'`{command}`' if command else 'unknown'


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return '\n'.join(['| | |', '|---|---|', *(f'| {name} | {value} |' for name, value in rows)])
