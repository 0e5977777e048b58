# SPDX-License-Identifier: Apache-2.0
"""The log of a run, read and drawn."""

from __future__ import annotations

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from sqil_training.finetune.curve_chart import Axis
from sqil_training.finetune.run_log import LOG, best_look, course, read_rows, write_row
from sqil_training.finetune.run_page import run_page
from sqil_training.finetune.settings import FinetuneSettings


def look(step: int, error: float) -> dict[str, object]:
    return {'step': step, 'held': {'action_error': error}}


def test_a_step_made_twice_counts_as_it_was_last_and_half_a_line_not_at_all(
    tmp_path: Path,
) -> None:
    for step, total in ((1, 5.0), (2, 4.0), (2, 3.0)):
        write_row(tmp_path, {'step': step, 'total': total})
    with (tmp_path / LOG).open('a') as log:
        log.write('{"step": 3, "tot')
    rows = read_rows(tmp_path)
    assert course(rows, 'total') == [(1, 5.0), (2, 3.0)]
    assert course(rows, 'held', 'distance') == [] and best_look(rows) is None
    assert read_rows(tmp_path / 'none') == []


def test_the_first_among_equals_is_the_best() -> None:
    assert best_look([look(0, 0.3), look(5, 0.2), look(10, 0.2)]) == (5, 0.2)


def test_a_run_without_reports_has_a_page_without_charts() -> None:
    assert '<svg' not in run_page([], FinetuneSettings())


@given(values=st.lists(st.floats(0.0, 1e6), min_size=1, max_size=9), logarithmic=st.booleans())
def test_every_value_lies_on_the_chart(values: list[float], logarithmic: bool) -> None:
    axis = Axis.of(values, logarithmic)
    heights = [axis.height(value) for value in (*sorted(values), *axis.marks)]
    assert all(math.isfinite(y) and 30.0 - 1e-6 <= y <= 178.0 + 1e-6 for y in heights)
    assert heights[: len(values)] == sorted(heights[: len(values)], reverse=True)
