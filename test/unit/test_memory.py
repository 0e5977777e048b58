# SPDX-License-Identifier: Apache-2.0
"""A table in a file takes no more memory than the rows that are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from resident import resident
from torch import Tensor

from sqil_ros.errors import EngineError
from sqil_ros.memory import in_a_file, let_go
from sqil_ros.policy.openvla.words import Words

SHAPE = 5000, 100


@pytest.fixture
def table(tmp_path: Path) -> tuple[Path, Tensor]:
    path = tmp_path / 'table'
    values = torch.randn(SHAPE).bfloat16()
    path.write_bytes(values.view(torch.uint8).numpy().tobytes())
    return path, torch.from_file(str(path), size=values.numel(), dtype=values.dtype).view(SHAPE)


def test_what_was_read_of_a_file_can_be_forgotten_and_read_again(
    table: tuple[Path, Tensor],
) -> None:
    path, values = table
    before = values.clone()
    assert in_a_file(values)
    assert resident(path) > values.numel()
    let_go(values)
    assert resident(path) <= 2 * 4096, 'the first and the last page may belong to others'
    assert torch.equal(values, before)


def test_memory_that_is_in_no_file_is_told_from_it(table: tuple[Path, Tensor]) -> None:
    _, values = table
    assert not in_a_file(values.clone())
    assert not in_a_file(torch.empty(10_000_000))
    assert not in_a_file(values.t()), 'a view with gaps'
    assert not in_a_file(torch.empty(3, device='meta'))


def test_words_are_read_and_the_rest_forgotten(table: tuple[Path, Tensor]) -> None:
    path, values = table
    expected = values.float()
    words = Words(values)
    for tokens in ([3, 4999, 0], [3, 4999, 0], [7], []):
        rows = words.rows(torch.tensor(tokens, dtype=torch.int64))
        assert rows.dtype == torch.float32
        assert torch.equal(rows, expected[tokens])
    assert resident(path) <= 2 * 4096


def test_words_of_a_table_in_memory_leave_it_as_it_is() -> None:
    values = torch.randn(SHAPE)
    before = values.clone()
    Words(values).rows(torch.arange(50))
    assert torch.equal(values, before)


@pytest.mark.parametrize('wrong', [-1, 5000])
def test_words_that_do_not_exist_are_refused(table: tuple[Path, Tensor], wrong: int) -> None:
    words = Words(table[1])
    with pytest.raises(EngineError, match=f'{wrong}'):
        words.rows(torch.tensor([3, wrong]))
    assert torch.equal(words.rows(torch.tensor([3])), table[1][3:4].float())
