# SPDX-License-Identifier: Apache-2.0
"""``profile.yaml``: what a profile is, what it was made from and which robot it belongs to."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from sqil_ros.errors import ProfileError
from sqil_ros.quant.activations import ACTIVATION_WIDTHS, InputRule
from sqil_ros.quant.back_ends import AUTO, BACK_ENDS
from sqil_ros.quant.primitives import WHOLE_ROW, WIDTHS, Grid

MANIFEST_NAME = 'profile.yaml'
FULL_PRECISION = 'fp'
SCHEMA = 1
MEND = 'Write the profile again with sqil-quantize.'
_NAME = re.compile(r'(int(?P<bits>[2-8])|mixed)_(?P<method>[a-z0-9]+)(_[a-z0-9]+)*')
_SHA256 = re.compile(r'[0-9a-f]{64}')
_CONTRACT = re.compile(r'[0-9a-f]{16}')
# Fields that younger versions added, and what their absence means.
_OPTIONAL = {'group_size': WHOLE_ROW, 'symmetric': True, 'rank': 0, 'inputs': None}
# Said of all groups at once by older versions.
_OLD = {'activation_bits', 'static_activations'}


@dataclass(frozen=True)
class LayerGroup:
    """Layers whose weights lie on one grid.

    Attributes:
        name: of the group.
        bits: width of a code.
        layers: names of its layers.
        group_size: inputs that share a scale, ``WHOLE_ROW`` (0) for all of a row.
        symmetric: False where every scale has a zero point.
        rank: of a low-rank change beside the integers, 0 for none.
        inputs: how their inputs are rounded, None for inputs in floating point.
    """

    name: str
    bits: int
    layers: tuple[str, ...]
    group_size: int = WHOLE_ROW
    symmetric: bool = True
    rank: int = 0
    inputs: InputRule | None = None

    @property
    def grid(self) -> Grid:
        """The grid of its weights."""
        return Grid(self.bits, self.group_size, self.symmetric)


@dataclass(frozen=True)
class FileEntry:
    """What a file must be, byte for byte."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Profile:
    """The facts of a profile.

    Attributes:
        name: ``<width>_<method>``, such as ``int4_rtn``; ``mixed`` where the widths differ.
        method: how the weights were rounded (``rtn``, ``awq``, ``sqil`` ...).
        groups: the quantised layers; everything else is at ``rest_dtype``.
        rest_dtype: type of the parameters that are not quantised.
        back_end: preferred back-end, ``auto`` to let the machine decide.
        base: :func:`sqil_ros.digest.weights_digest` of the full-precision weights.
        contract: hash of the robot's contract.
        files: every file beside the manifest.
        measured: figures about it (weight error, memory, action error, latency by device).
    """

    name: str
    method: str
    groups: tuple[LayerGroup, ...]
    rest_dtype: str
    back_end: str
    base: str
    contract: str
    files: Mapping[str, FileEntry]
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> InputRule | None:
        """How the inputs of all quantised layers are rounded.

        Raises:
            ProfileError: not those of all groups alike.
        """
        rules = {group.inputs for group in self.groups}
        if len(rules) > 1:
            raise ProfileError(
                f'the groups of {self.name} round their inputs differently; choose a profile '
                'whose groups do it alike.'
            )
        return next(iter(rules))

    @property
    def disk_bytes(self) -> int:
        """Bytes of all files beside the manifest."""
        return sum(entry.size for entry in self.files.values())


def profile_name(
    method: str,
    groups: Mapping[str, int],
    all_groups: bool = True,
    variant: Sequence[str] = (),
) -> str:
    """Name of a profile, the same for the same choices.

    Args:
        method: how the weights are rounded.
        groups: width per group that is quantised.
        all_groups: False adds the groups to the name, as in ``int4_rtn_language``.
        variant: what else departs from the default, as in ``int4_awq_asym_g64``.
    """
    widths = set(groups.values())
    if len(widths) == 1:
        name = f'int{widths.pop()}_{method}'
        return '_'.join([name, *variant, *([] if all_groups else groups)])
    shown = [f'{group}{bits}' for group, bits in groups.items()]
    return '_'.join([f'mixed_{method}', *variant, *shown])


def grid_variant(grid: Grid, inputs: InputRule | None) -> tuple[str, ...]:
    """What of the grids shows in a name: ``asym``, ``g64``, ``a8``, ``a8static``, ``a8prompt``."""
    parts = [] if grid.symmetric else ['asym']
    if grid.group_size != WHOLE_ROW:
        parts.append(f'g{grid.group_size}')
    if inputs is not None:
        kind = f'{"static" * inputs.static}{"prompt" * inputs.prompt_only}'
        parts.append(f'a{inputs.bits}{kind}')
    return tuple(parts)


def check_name(name: str) -> None:
    """Refuse what is no name of a quantised profile (a path, above all).

    Raises:
        ProfileError: the name is not ``<width>_<method>``.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ProfileError(
            f'{name!r} is no name of a quantised profile; use int<2-8>_<method> as in int4_rtn, '
            f'or {FULL_PRECISION} for full precision.'
        )


def write_manifest(directory: Path, profile: Profile) -> None:
    """Write ``profile.yaml``, the last file of a finished profile."""
    content = {'schema': SCHEMA} | _said(profile)
    content['groups'] = [
        _said(group)
        | {'layers': [*group.layers]}
        | ({} if group.inputs is None else {'inputs': dataclasses.asdict(group.inputs)})
        for group in profile.groups
    ]
    content['files'] = {name: dataclasses.asdict(entry) for name, entry in profile.files.items()}
    content['measured'] = dict(profile.measured)
    text = yaml.safe_dump(content, sort_keys=False, width=99)
    (directory / MANIFEST_NAME).write_text(text, encoding='utf-8')


def read_manifest(directory: Path) -> Profile:
    """Read and check ``profile.yaml``; inverse of :func:`write_manifest`.

    Raises:
        ProfileError: missing, malformed, of another schema or at odds with itself; the message
            names the file, the field, its value and what is allowed.
    """
    path = directory / MANIFEST_NAME
    if not path.is_file():
        raise ProfileError(f'{directory} has no {MANIFEST_NAME}, so it is no profile. {MEND}')
    try:
        raw = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ProfileError(f'{path} is not readable YAML ({error}). {MEND}') from error
    return _Parser(path).profile(raw)


def _said(facts: Profile | LayerGroup) -> dict[str, Any]:
    """Fields and values, without those that may be left out and are at their defaults."""
    values = {entry.name: getattr(facts, entry.name) for entry in dataclasses.fields(facts)}
    return {k: v for k, v in values.items() if k not in _OPTIONAL or v != _OPTIONAL[k]}


def _old_rule(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """What older versions said of the inputs of all groups."""
    bits, static = raw.get('activation_bits'), raw.get('static_activations', False)
    if bits is None and static is False:
        return None
    return {'bits': bits, 'static': static, 'prompt_only': False}


def _inside(name: Any) -> bool:
    """Whether a file of this name lies in the manifest's folder."""
    if not isinstance(name, str):
        return False
    path = PurePosixPath(name)
    plain = path.as_posix() == name and path.name != ''
    return plain and not path.is_absolute() and '..' not in path.parts


class _Parser:
    """Checks a manifest by hand, so that an error can name what is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def profile(self, raw: Any) -> Profile:
        wanted = {entry.name for entry in dataclasses.fields(Profile)} | {'schema'}
        self.keys('profile', raw, wanted, _OLD)
        self.need('schema', raw['schema'], raw['schema'] == SCHEMA, f'{SCHEMA}')
        check_name(raw['name'])
        groups = self.groups(raw['groups'], self.inputs('all groups', _old_rule(raw)))
        method = raw['method']
        promised = _NAME.fullmatch(raw['name'])
        assert promised is not None
        self.need('method', method, method == promised['method'], f'{promised["method"]!r}')
        bits = {group.bits for group in groups}
        if promised['bits'] is not None:
            kept = bits == {int(promised['bits'])}
            allowed = f'{promised["bits"]} in every group, as the name {raw["name"]} promises'
            self.need('bits', sorted(bits), kept, allowed)
        rest, back_end = raw['rest_dtype'], raw['back_end']
        self.need('rest_dtype', rest, rest in ('bfloat16', 'float32'), 'bfloat16 or float32')
        names = [AUTO, *sorted(BACK_ENDS)]
        self.need('back_end', back_end, back_end in names, f'one of {names}')
        self.digest('base', raw['base'], _SHA256)
        self.digest('contract', raw['contract'], _CONTRACT)
        measured = raw['measured']
        self.need('measured', measured, isinstance(measured, dict), 'a mapping')
        return Profile(
            raw['name'], method, groups, rest, back_end,
            raw['base'], raw['contract'], self.files(raw['files']), measured,
        )  # fmt: skip

    def inputs(self, name: str, raw: Any) -> InputRule | None:
        if raw is None:
            return None
        self.keys(f'inputs of {name}', raw, {'bits', 'static', 'prompt_only'})
        bits = raw['bits']
        known = type(bits) is int and bits in ACTIVATION_WIDTHS
        self.need(f'input bits of {name}', bits, known, f'one of {ACTIVATION_WIDTHS}')
        for key in ('static', 'prompt_only'):
            self.need(f'{key} of {name}', raw[key], type(raw[key]) is bool, 'true or false')
        return InputRule(**raw)

    def groups(self, raw: Any, inputs: InputRule | None) -> tuple[LayerGroup, ...]:
        self.need('groups', raw, isinstance(raw, list) and bool(raw), 'a list of layer groups')
        groups = []
        seen: set[str] = set()
        for entry in raw:
            optional = {'group_size', 'symmetric', 'rank', 'inputs'}
            self.keys('groups', entry, {'name', 'bits', 'layers'}, optional)
            name, bits, layers = entry['name'], entry['bits'], entry['layers']
            self.need('groups name', name, isinstance(name, str), 'a text')
            allowed = f'{WIDTHS[0]} to {WIDTHS[-1]}'
            self.need(f'bits of {name}', bits, type(bits) is int and bits in WIDTHS, allowed)
            texts = isinstance(layers, list) and all(isinstance(item, str) for item in layers)
            self.need(f'layers of {name}', layers, texts and bool(layers), 'a list of layer names')
            twice = sorted(seen & set(layers))
            self.need(f'layers of {name}', twice, not twice, 'layers that no other group has')
            seen |= set(layers)
            size, symmetric = entry.get('group_size', WHOLE_ROW), entry.get('symmetric', True)
            self.need(f'group_size of {name}', size, type(size) is int and size >= 0, '0 or more')
            self.need(f'symmetric of {name}', symmetric, type(symmetric) is bool, 'true or false')
            rank = entry.get('rank', 0)
            self.need(f'rank of {name}', rank, type(rank) is int and rank >= 0, '0 or more')
            rule = self.inputs(name, entry.get('inputs')) or inputs
            groups.append(LayerGroup(name, bits, tuple(layers), size, symmetric, rank, rule))
        return tuple(groups)

    def files(self, raw: Any) -> dict[str, FileEntry]:
        self.need('files', raw, isinstance(raw, dict) and bool(raw), 'a mapping of file names')
        for name, entry in raw.items():
            self.need('files', name, _inside(name), 'files beside the manifest or below it')
            self.keys(f'files {name}', entry, {'sha256', 'size'})
            self.digest(f'sha256 of {name}', entry['sha256'], _SHA256)
            size = entry['size']
            self.need(f'size of {name}', size, type(size) is int and size > 0, 'bytes above 0')
        return {name: FileEntry(**entry) for name, entry in raw.items()}

    def keys(
        self, what: str, raw: Any, wanted: set[str], optional: Set[str] = frozenset()
    ) -> None:
        found = set(raw) if isinstance(raw, dict) else set()
        if not isinstance(raw, dict) or found - optional != wanted:
            missing, unknown = wanted - found, found - wanted - optional
            raise ProfileError(
                f'{self._path}: {what} lacks {sorted(missing)} and has unknown '
                f'{sorted(map(str, unknown))}; it must have exactly {sorted(wanted)}'
                f'{f", and may have {sorted(optional)}" if optional else ""}. {MEND}'
            )

    def digest(self, what: str, value: Any, pattern: re.Pattern[str]) -> None:
        matches = isinstance(value, str) and pattern.fullmatch(value) is not None
        self.need(what, value, matches, f'hex digits matching {pattern.pattern}')

    def need(self, what: str, value: Any, fulfilled: bool, allowed: str) -> None:
        if not fulfilled:
            text = repr(value)
            text = text if len(text) <= 80 else f'{text[:77]}...'
            raise ProfileError(f'{self._path}: {what} is {text}; it must be {allowed}. {MEND}')
