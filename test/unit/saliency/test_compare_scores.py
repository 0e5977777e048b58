# SPDX-License-Identifier: Apache-2.0
"""Two ways to score the same frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqil_training.compare_scores import main, rank_correlation, ranks
from sqil_training.score_file import write_scores
from sqil_training.scores import EpisodeScores, ScoreKey, Scores

from sqil_ros.saliency import SaliencySettings

SCORES = Scores(
    ScoreKey(SaliencySettings(), 'c', 'k'), 0.2, 2.0, {},
    [EpisodeScores('e', 'd', np.arange(20.0), np.arange(20))],
)  # fmt: skip


def test_equal_values_share_a_rank() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [2.5, 0.0, 2.5, 1.0]


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=40, unique=True))
def test_only_the_order_counts(values: list[int]) -> None:
    scores = np.array(values, float)
    assert rank_correlation(scores, np.exp(scores / 10.0)) == pytest.approx(1.0)
    assert rank_correlation(scores, -scores) == pytest.approx(-1.0)


def test_the_command_counts_shared_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turned = replace(SCORES.episodes[0], scores=np.roll(np.arange(20.0), 1))
    for name, scores in (('a', SCORES), ('b', replace(SCORES, episodes=[turned]))):
        write_scores(tmp_path / name, scores)
    result = tmp_path / 'result.json'
    assert main([str(tmp_path / 'a'), str(tmp_path / 'b'), '--json', str(result)]) == 0
    assert '3 of 4 heavy frames' in capsys.readouterr().out
    assert json.loads(result.read_text())['heavy_in_both'] == 3


def test_other_data_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(SCORES, episodes=[replace(SCORES.episodes[0], digest='x')])
    for name, scores in (('a', SCORES), ('b', other)):
        write_scores(tmp_path / name, scores)
    assert main([str(tmp_path / 'a'), str(tmp_path / 'b')]) == 1
    assert 'the same data' in capsys.readouterr().err
