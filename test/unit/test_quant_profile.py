# SPDX-License-Identifier: Apache-2.0
"""Profiles on disk: what is written is what runs, and nothing unsound is ever applied."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from sqil_ros.digest import sha256_of, weights_digest
from sqil_ros.errors import ProfileError
from sqil_ros.quant import profile as profile_module
from sqil_ros.quant.linear import FakeQuantLinear, PackedLinear
from sqil_ros.quant.manifest import FileEntry, Profile, read_manifest, write_manifest
from sqil_ros.quant.primitives import quantize
from sqil_ros.quant.profile import (
    WEIGHTS_NAME,
    apply_profile,
    find_profile,
    list_profiles,
    read_profile,
    write_profile,
)
from sqil_ros.quant.selection import select_layers
from sqil_ros.quant.size import back_end_names, file_bytes, model_bytes, packed_layers
from sqil_ros.quant.weights import skeleton

CONTRACT = '0123456789abcdef'
GROUPS = {'language': ('model.layers.*',)}


def llama(seed: int, tied: bool = False) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=40, hidden_size=48, intermediate_size=72, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=32, tie_word_embeddings=tied,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval().requires_grad_(False)


def logits(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        return model(torch.arange(12)[None]).logits


def fake(model: nn.Module, bits: int) -> nn.Module:
    """What a profile stands for, in floating point."""
    twin = copy.deepcopy(model)
    for parameter in twin.parameters():
        parameter.copy_(parameter.to(torch.bfloat16))
    for name in select_layers(model, GROUPS)['language']:
        parent, _, child = name.rpartition('.')
        dense = model.get_submodule(name)
        assert isinstance(dense, nn.Linear)
        setattr(twin.get_submodule(parent), child, FakeQuantLinear.from_linear(dense, bits))
    return twin


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_file({'weights': torch.arange(3.0)}, tmp_path / 'model.safetensors')
    return tmp_path


def write(checkpoint: Path, model: nn.Module, bits: int = 4, contract: str = CONTRACT) -> Path:
    names = select_layers(model, GROUPS)['language']
    integers = {}
    for name in names:
        weight = model.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        integers[name] = quantize(weight, bits)
    parent, name = checkpoint / 'profiles', f'int{bits}_rtn'
    write_profile(
        parent,
        name,
        model,
        {'language': integers},
        method='rtn',
        base=weights_digest(checkpoint),
        contract=contract,
    )
    return parent / name


@pytest.mark.parametrize('bits', [2, 3, 4, 8])
@pytest.mark.parametrize('tied', [False, True])
def test_a_written_profile_runs_as_the_fake_model_does(
    checkpoint: Path, bits: int, tied: bool
) -> None:
    model = llama(0, tied)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    directory = write(checkpoint, model, bits)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

    other = llama(1, tied)  # its weights must not matter
    profile = apply_profile(other, directory, 'reference')
    assert profile.groups[0].bits == bits
    torch.testing.assert_close(logits(other), logits(fake(model, bits)), rtol=0.0, atol=0.0)

    fast = llama(2, tied)
    apply_profile(fast, directory)
    assert back_end_names(fast) == 'cpu'
    error = (logits(fast) - logits(other)).norm() / logits(other).norm()
    assert float(error) < 0.02


@pytest.mark.parametrize('tied', [False, True])
def test_a_model_without_weights_is_filled(checkpoint: Path, tied: bool) -> None:
    """Not even rotary frequencies, which no checkpoint holds, are needed beforehand."""
    model = llama(0, tied)
    directory = write(checkpoint, model)
    empty = skeleton(model)
    assert all(t.is_meta for t in [*empty.parameters(), *empty.buffers()])
    apply_profile(empty, directory)
    assert not any(t.is_meta for t in [*empty.parameters(), *empty.buffers()])
    other = llama(1, tied)
    apply_profile(other, directory)
    assert torch.equal(logits(empty), logits(other))


def test_tied_weights_stay_tied(checkpoint: Path) -> None:
    model = llama(0, tied=True)
    directory = write(checkpoint, model)
    other = skeleton(model)
    apply_profile(other, directory)
    assert other.lm_head.weight is other.model.embed_tokens.weight
    keys = load_file(directory / WEIGHTS_NAME)
    assert not {'lm_head.weight', 'model.embed_tokens.weight'} <= set(keys)


def test_the_rest_takes_the_dtype_of_the_model(checkpoint: Path) -> None:
    directory = write(checkpoint, llama(0))
    half = llama(1).to(torch.bfloat16)
    apply_profile(half, directory)
    assert half.lm_head.weight.dtype == torch.bfloat16
    assert logits(half).dtype == torch.bfloat16
    stored = load_file(directory / WEIGHTS_NAME)
    assert stored['lm_head.weight'].dtype == torch.bfloat16
    assert stored['model.rotary_emb.inv_freq'].dtype == torch.float32


def test_a_profile_can_follow_another(checkpoint: Path) -> None:
    model = llama(0)
    eight, three = write(checkpoint, model, 8), write(checkpoint, model, 3)
    swapped, fresh = llama(1), llama(2)
    apply_profile(swapped, eight)
    apply_profile(swapped, three)
    apply_profile(fresh, three)
    assert torch.equal(logits(swapped), logits(fresh))


def test_sizes_are_counted_from_what_is_there(checkpoint: Path) -> None:
    model = llama(0)
    full = model_bytes(model)
    linear = sum(m.weight.numel() for n, m in model.named_modules() if n.endswith('_proj'))
    assert full.packed == full.scales == 0
    assert full.weights == sum(p.numel() for p in model.parameters())
    sizes = {}
    for bits in (8, 4, 3):
        directory = write(checkpoint, model, bits)
        packed = skeleton(model)
        profile = apply_profile(packed, directory, 'reference')
        size = model_bytes(packed)
        assert size.weights == full.weights
        assert size.rest == full.rest - 4 * linear
        assert size.packed >= linear * bits / 8
        assert size.packed < linear * bits / 8 * 1.15  # rows end on whole words
        sizes[bits] = size.total, profile.disk_bytes
        assert profile.disk_bytes == (directory / WEIGHTS_NAME).stat().st_size
    assert sizes[3] < sizes[4] < sizes[8] < (full.total, full.total)
    # What is recorded is what runs by default: 3 bits in nibbles take more than the reference.
    assert read_manifest(directory).measured['memory_bytes'] > sizes[3][0]


@pytest.mark.parametrize('bits', [3, 4])
def test_the_size_on_disk_is_known_before_it_is_written(checkpoint: Path, bits: int) -> None:
    model = llama(0)
    directory = write(checkpoint, model, bits)
    apply_profile(model, directory)
    stored = load_file(directory / WEIGHTS_NAME).values()
    assert file_bytes(model) == sum(one.numel() * one.element_size() for one in stored)


def test_finding_and_listing(checkpoint: Path) -> None:
    assert list_profiles(checkpoint) == ['fp']
    directory = write(checkpoint, llama(0))
    write(checkpoint, llama(0), 8)
    assert list_profiles(checkpoint) == ['fp', 'int4_rtn', 'int8_rtn']
    assert find_profile(checkpoint, 'int4_rtn', CONTRACT) == directory
    with pytest.raises(ProfileError, match=r"no profile 'int3_rtn'; it offers fp, int4_rtn, int8"):
        find_profile(checkpoint, 'int3_rtn', CONTRACT)
    for name in ('../../elsewhere', 'fp', ''):
        with pytest.raises(ProfileError, match='no name'):
            find_profile(checkpoint, name, CONTRACT)


def test_another_robot_is_refused(checkpoint: Path) -> None:
    write(checkpoint, llama(0))
    with pytest.raises(ProfileError, match=f'{CONTRACT}.*fedcba9876543210'):
        find_profile(checkpoint, 'int4_rtn', 'fedcba9876543210')


def test_other_weights_are_refused(checkpoint: Path) -> None:
    write(checkpoint, llama(0))
    save_file({'weights': torch.arange(4.0)}, checkpoint / 'model.safetensors')
    with pytest.raises(ProfileError, match='made from weights'):
        find_profile(checkpoint, 'int4_rtn', CONTRACT)


def test_a_renamed_folder_is_refused(checkpoint: Path) -> None:
    directory = write(checkpoint, llama(0))
    directory.rename(directory.with_name('int8_rtn'))
    with pytest.raises(ProfileError, match=r"named 'int4_rtn'"):
        find_profile(checkpoint, 'int8_rtn', CONTRACT)


def corrupt(path: Path, how: str) -> str:
    data = bytearray(path.read_bytes())
    if how == 'missing':
        path.unlink()
        return 'is missing'
    if how == 'truncated':
        path.write_bytes(data[:-100])
        return f'has {len(data) - 100} bytes, the profile says {len(data)}'
    if how == 'longer':
        path.write_bytes(bytes(data) + b'\0')
        return 'bytes, the profile says'
    data[-1000] ^= 1
    path.write_bytes(data)
    return 'has sha256'


@pytest.mark.parametrize('how', ['missing', 'truncated', 'longer', 'one bit'])
def test_damaged_files_are_refused_and_change_nothing(checkpoint: Path, how: str) -> None:
    directory = write(checkpoint, llama(0))
    complaint = corrupt(directory / WEIGHTS_NAME, how)
    with pytest.raises(ProfileError, match=complaint):
        find_profile(checkpoint, 'int4_rtn', CONTRACT)
    model = llama(1)
    before = logits(model)
    with pytest.raises(ProfileError, match=complaint):
        apply_profile(model, directory)
    assert torch.equal(logits(model), before)


def test_large_files_are_hashed_when_they_are_loaded(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write(checkpoint, llama(0))
    corrupt(directory / WEIGHTS_NAME, 'one bit')
    monkeypatch.setattr(profile_module, 'QUICK_BYTES', 10)
    assert find_profile(checkpoint, 'int4_rtn', CONTRACT) == directory
    with pytest.raises(ProfileError, match='sha256'):
        read_profile(directory)
    with pytest.raises(ProfileError, match='sha256'):
        apply_profile(llama(1), directory)


def forge(directory: Path, change: dict[str, Tensor | None]) -> Profile:
    """Another weights file with the right hash: made by a program at fault, not by a bad disk."""
    path = directory / WEIGHTS_NAME
    tensors: dict[str, Tensor | None] = {**load_file(path), **change}
    save_file({k: v for k, v in tensors.items() if v is not None}, path)
    profile = read_manifest(directory)
    profile = Profile(
        **{
            **vars(profile),
            'files': {WEIGHTS_NAME: FileEntry(sha256_of(path), path.stat().st_size)},
        }
    )
    write_manifest(directory, profile)
    return profile


PROJECTION = 'model.layers.0.mlp.down_proj'


@pytest.mark.parametrize(
    ('change', 'complaint'),
    [
        ({f'{PROJECTION}.packed': None}, "['packed'] of layer"),
        ({f'{PROJECTION}.scale': torch.ones(47)}, '47 rows, in the model 48'),
        ({f'{PROJECTION}.scale': -torch.ones(48)}, 'positive'),
        ({f'{PROJECTION}.packed': torch.zeros(48, 28, dtype=torch.uint8)}, 'need (48, 36)'),
        ({f'{PROJECTION}.packed': torch.zeros(48, 36, dtype=torch.int8)}, 'uint8'),
        ({'model.norm.weight': None}, 'model.norm.weight is nothing'),
        ({'model.norm.weight': torch.ones(3)}, 'model.norm.weight is (3,)'),
        ({'surprise': torch.ones(3)}, 'surprise'),
    ],
)
def test_files_that_do_not_fit_are_refused_and_change_nothing(
    checkpoint: Path, change: dict[str, Tensor | None], complaint: str
) -> None:
    directory = write(checkpoint, llama(0))
    forge(directory, change)
    model = llama(1)
    before = logits(model)
    with pytest.raises(ProfileError) as caught:
        apply_profile(model, directory)
    assert complaint in str(caught.value)
    assert torch.equal(logits(model), before)
    assert not packed_layers(model)


def test_a_file_that_is_no_safetensors_is_refused(checkpoint: Path) -> None:
    directory = write(checkpoint, llama(0))
    path = directory / WEIGHTS_NAME
    path.write_bytes(b'PK\x03\x04' * 100)
    profile = read_manifest(directory)
    entry = FileEntry(sha256_of(path), path.stat().st_size)
    write_manifest(directory, Profile(**{**vars(profile), 'files': {WEIGHTS_NAME: entry}}))
    with pytest.raises(ProfileError, match='no safetensors file'):
        apply_profile(llama(1), directory)


def test_another_architecture_is_refused(checkpoint: Path) -> None:
    directory = write(checkpoint, llama(0))
    with pytest.raises(ProfileError, match='no linear layer'):
        apply_profile(nn.Sequential(nn.Linear(4, 4)), directory)


def test_writing_again_replaces_and_leaves_nothing_behind(checkpoint: Path) -> None:
    first = write(checkpoint, llama(0))
    before = sha256_of(first / WEIGHTS_NAME)
    second = write(checkpoint, llama(5))
    assert first == second
    assert sha256_of(second / WEIGHTS_NAME) != before
    assert [path.name for path in (checkpoint / 'profiles').iterdir()] == ['int4_rtn']


def test_a_failed_write_keeps_the_old_profile(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write(checkpoint, llama(0))
    before = sha256_of(directory / WEIGHTS_NAME)

    def full_disk(*arguments: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(profile_module, 'save_file', full_disk)
    with pytest.raises(OSError, match='No space'):
        write(checkpoint, llama(5))
    assert sha256_of(directory / WEIGHTS_NAME) == before
    assert [path.name for path in (checkpoint / 'profiles').iterdir()] == ['int4_rtn']


def test_names_and_widths_must_agree(checkpoint: Path) -> None:
    model = llama(0)
    layers = {PROJECTION: quantize(model.get_submodule(PROJECTION).weight, 3)}
    facts = {'method': 'rtn', 'base': 'a' * 64, 'contract': CONTRACT}
    with pytest.raises(ProfileError, match=r'\[3\]; it must be 4'):
        write_profile(checkpoint, 'int4_rtn', model, {'language': layers}, **facts)
    mixed = {**layers, 'model.layers.1.mlp.up_proj': quantize(torch.ones(72, 48), 8)}
    with pytest.raises(ProfileError, match=r'widths \[3, 8\]'):
        write_profile(checkpoint, 'int3_rtn', model, {'language': mixed}, **facts)
    assert list_profiles(checkpoint) == ['fp']


def test_a_sharded_checkpoint_has_one_digest(tmp_path: Path) -> None:
    for index in range(2):
        save_file({'w': torch.full((2,), float(index))}, tmp_path / f'model-{index}.safetensors')
    first = weights_digest(tmp_path)
    save_file({'w': torch.full((2,), 9.0)}, tmp_path / 'model-1.safetensors')
    assert weights_digest(tmp_path) != first


def test_packed_layers_are_listed_by_name(checkpoint: Path) -> None:
    model = llama(0)
    assert back_end_names(model) == 'torch'
    apply_profile(model, write(checkpoint, model))
    assert set(packed_layers(model)) == set(select_layers(model, GROUPS)['language'])
    assert all(isinstance(layer, PackedLinear) for layer in packed_layers(model).values())
