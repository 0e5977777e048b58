# SPDX-License-Identifier: Apache-2.0
"""Names and manifests of profiles, and which layers they cover."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from sqil_ros.errors import ProfileError
from sqil_ros.quant.activations import InputRule
from sqil_ros.quant.manifest import (
    MANIFEST_NAME,
    FileEntry,
    LayerGroup,
    Profile,
    check_name,
    profile_name,
    read_manifest,
    write_manifest,
)
from sqil_ros.quant.selection import select_layers

PROFILE = Profile(
    name='int4_rtn',
    method='rtn',
    groups=(LayerGroup('vision', 4, ('dino.a', 'siglip.b')), LayerGroup('language', 4, ('c',))),
    rest_dtype='bfloat16',
    back_end='auto',
    base='a' * 64,
    contract='b' * 16,
    files={'weights.safetensors': FileEntry('c' * 64, 7)},
    measured={'weight_error': 0.1, 'latency_ms': {'this laptop': 12.0}},
)


def test_manifests_round_trip(tmp_path: Path) -> None:
    write_manifest(tmp_path, PROFILE)
    assert read_manifest(tmp_path) == PROFILE


def test_a_file_may_lie_below_the_manifest(tmp_path: Path) -> None:
    deeper = dataclasses.replace(PROFILE, files={'adapter/x': FileEntry('c' * 64, 7)})
    write_manifest(tmp_path, deeper)
    assert read_manifest(tmp_path) == deeper


def put(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda raw: raw.__setitem__(key, value)


def put_inputs(value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda raw: raw['groups'][0].__setitem__('inputs', value)


def test_groups_may_round_their_inputs_each_in_its_way(tmp_path: Path) -> None:
    vision, language = PROFILE.groups
    rule = InputRule(8, static=True, prompt_only=True)
    mixed = dataclasses.replace(
        PROFILE, groups=(dataclasses.replace(vision, inputs=rule), language)
    )
    write_manifest(tmp_path, mixed)
    assert read_manifest(tmp_path) == mixed
    with pytest.raises(ProfileError, match='differently'):
        _ = mixed.inputs


def test_what_older_versions_said_of_all_inputs_is_understood(tmp_path: Path) -> None:
    write_manifest(tmp_path, PROFILE)
    path = tmp_path / MANIFEST_NAME
    raw = yaml.safe_load(path.read_text()) | {'activation_bits': 4, 'static_activations': True}
    path.write_text(yaml.safe_dump(raw))
    assert read_manifest(tmp_path).inputs == InputRule(4, static=True)


@pytest.mark.parametrize(
    ('change', 'complaint'),
    [
        (lambda raw: raw.pop('contract'), "lacks ['contract']"),
        (put('colour', 1), "unknown ['colour']"),
        (put('schema', 2), 'schema is 2; it must be 1'),
        (put('name', '../int4_rtn'), "'../int4_rtn' is no name"),
        (put('name', 'int3_rtn'), 'bits is [4]; it must be 3'),
        (put('method', 'awq'), "method is 'awq'; it must be 'rtn'"),
        (put('groups', []), 'groups is []'),
        (put('groups', [{'name': 'a', 'bits': 4}]), "lacks ['layers']"),
        (put('groups', [{'name': 'a', 'bits': 16, 'layers': ['x']}]), 'must be 2 to 8'),
        (put('groups', [{'name': 'a', 'bits': True, 'layers': ['x']}]), 'must be 2 to 8'),
        (put('groups', [{'name': 'a', 'bits': 4, 'layers': 'x'}]), 'list of layer names'),
        (
            put('groups', [{'name': n, 'bits': 4, 'layers': ['x']} for n in 'ab']),
            "layers of b is ['x']",
        ),
        (put('activation_bits', 5), 'input bits of all groups is 5'),
        (put('static_activations', True), 'input bits of all groups is None'),
        (put_inputs({'bits': 8}), "lacks ['prompt_only', 'static']"),
        (put_inputs({'bits': 8, 'static': 1, 'prompt_only': False}), 'static of vision is 1'),
        (put('rest_dtype', 'int8'), 'bfloat16 or float32'),
        (put('back_end', 'fpga'), "back_end is 'fpga'"),
        (put('base', 'abc'), "base is 'abc'"),
        (put('contract', 3), 'contract is 3'),
        (put('files', {}), 'files is {}'),
        *(
            (put('files', {name: {'sha256': 'c' * 64, 'size': 1}}), 'beside the manifest')
            for name in ('../x', 'a/../x', '/x', 'a//x', '.', '', 3)
        ),
        (put('files', {'x': {'sha256': 'c' * 63, 'size': 1}}), 'sha256 of x'),
        (put('files', {'x': {'sha256': 'c' * 64, 'size': -1}}), 'size of x is -1'),
        (put('measured', 3), 'measured is 3'),
    ],
)
def test_a_wrong_field_is_named_with_its_value(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    write_manifest(tmp_path, PROFILE)
    raw = yaml.safe_load((tmp_path / MANIFEST_NAME).read_text())
    change(raw)
    (tmp_path / MANIFEST_NAME).write_text(yaml.safe_dump(raw))
    with pytest.raises(ProfileError) as caught:
        read_manifest(tmp_path)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    'text', ['', '[1, 2]', 'name: [', '!!python/object/apply:os.system ["true"]', '\x00\x01']
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text)
    with pytest.raises(ProfileError, match='sqil-quantize'):
        read_manifest(tmp_path)


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r'no profile\.yaml'):
        read_manifest(tmp_path)


@pytest.mark.parametrize('name', ['fp', 'int4', 'int9_rtn', 'int4_', 'int4_RTN', '/int4_rtn', ''])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ProfileError, match='int4_rtn'):
        check_name(name)


def test_names_follow_the_choices() -> None:
    assert profile_name('rtn', {'vision': 4, 'language': 4}) == 'int4_rtn'
    assert profile_name('awq', {'language': 3}, all_groups=False) == 'int3_awq_language'
    assert profile_name('rtn', {'vision': 8, 'language': 4}) == 'mixed_rtn_vision8_language4'
    for groups in ({'vision': 4}, {'vision': 8, 'language': 4}):
        check_name(profile_name('rtn', groups))


class Small(nn.Module):
    """The names of an OpenVLA, with the trap of an attention that reads its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.dino = nn.ModuleDict(
            {'fc': nn.Linear(4, 4), 'attention': nn.MultiheadAttention(4, 1)}
        )
        self.siglip = nn.ModuleDict({'fc': nn.Linear(4, 4), 'embed': nn.Linear(4, 4)})
        self.projector = nn.ModuleDict({'fc1': nn.Linear(4, 4)})
        self.language_model = nn.ModuleDict({'q': nn.Linear(4, 4), 'lm_head': nn.Linear(4, 8)})
        self.other = nn.Linear(4, 4)


def test_projector_head_and_embeddings_are_kept() -> None:
    assert select_layers(Small()) == {
        'vision': ('dino.fc', 'siglip.fc'),
        'language': ('language_model.q',),
    }


def test_groups_are_patterns() -> None:
    chosen = select_layers(Small(), {'all': ('*',)}, kept=('dino.*', 'siglip.*'))
    assert chosen['all'] == (
        'projector.fc1',
        'language_model.q',
        'language_model.lm_head',
        'other',
    )


def test_the_first_group_that_matches_has_the_layer() -> None:
    chosen = select_layers(Small(), {'dino': ('dino.*',), 'rest': ('*',)})
    assert chosen['dino'] == ('dino.fc',)
    assert 'dino.fc' not in chosen['rest']


def test_a_group_without_layers_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"'audio'"):
        select_layers(Small(), {'audio': ('ears.*',)})
