# SPDX-License-Identifier: Apache-2.0
"""docs/safety.md lists what the code has: every check with its number, every fault, every file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sqil_ros.safety import Check, Fault

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / 'docs' / 'safety.md').read_text()
ROWS = dict(re.findall(r'^\| (\d+) \| `(\w+)` \|', TEXT, re.MULTILINE))


@pytest.mark.parametrize('check', Check, ids=lambda check: check.label)
def test_every_check_has_its_row(check: Check) -> None:
    assert ROWS.get(str(check.value)) == check.label


def test_there_are_25() -> None:
    assert len(ROWS) == len(Check) == 25


@pytest.mark.parametrize('fault', Fault, ids=lambda fault: fault.value)
def test_every_fault_is_named(fault: Fault) -> None:
    assert f'`{fault.value}`' in TEXT


def test_the_files_exist() -> None:
    files = set(re.findall(r'`((?:safety|robot)/\w+\.py|trajectory\.py|robot_node\.py)`', TEXT))
    assert len(files) > 8
    for file in files:
        where = 'nodes' if file == 'robot_node.py' else '.'
        assert (ROOT / 'sqil_ros' / where / file).is_file(), file
