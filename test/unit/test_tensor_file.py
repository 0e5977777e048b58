# SPDX-License-Identifier: Apache-2.0
"""Tensors come out of a file one by one; tables stay in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from resident import resident
from safetensors.torch import save_file
from torch import Tensor

from sqil_ros.errors import ProfileError
from sqil_ros.quant.tensor_file import TensorFile


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    tensors = {
        'words': torch.randn(50_000, 128).bfloat16(),
        'codes': torch.randint(0, 256, (300, 70), dtype=torch.uint8),
        'step': torch.tensor(0.25),
    }
    path = tmp_path / 'some.safetensors'
    save_file(tensors, path)
    return path, tensors


def mapped(path: Path) -> bool:
    """Whether this process still has the file in its addresses."""
    return str(path) in Path('/proc/self/maps').read_text(encoding='utf-8')


def test_everything_comes_out_once_and_as_it_was_written(
    written: tuple[Path, dict[str, Tensor]],
) -> None:
    path, tensors = written
    with TensorFile(path, ['words']) as file:
        assert set(file) == set(tensors) and len(file) == 3
        for count, (name, tensor) in enumerate(tensors.items(), 1):
            assert file.shape(name) == tuple(tensor.shape)
            assert torch.equal(file.pop(name), tensor)
            assert name not in file and len(file) == 3 - count


def test_only_tables_keep_a_file_in_memory_and_of_them_what_was_read(
    written: tuple[Path, dict[str, Tensor]],
) -> None:
    path, tensors = written
    with TensorFile(path) as file:
        taken = {name: file.pop(name) for name in tensors}
    assert not mapped(path)
    assert torch.equal(taken['codes'], tensors['codes'])
    with TensorFile(path, ['words', 'not there']) as file:
        words, _ = file.pop('words'), file.pop('codes')
    assert torch.equal(words[7], tensors['words'][7])
    size = words.numel() * words.element_size()
    assert 0 < resident(path) < size / 10, 'the system reads a few neighbouring pages as well'
    path.unlink()
    assert torch.equal(words, tensors['words']), 'whoever reads a file keeps what was removed'


@pytest.mark.parametrize('content', [b'', b'\x40\0\0\0\0\0\0\0{"a":', b'PK\x03\x04' * 9])
def test_what_is_no_such_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'some.safetensors'
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=r'some\.safetensors is no safetensors file'):
        TensorFile(path)
    with pytest.raises(ProfileError, match='nowhere'):
        TensorFile(tmp_path / 'nowhere')
