# SPDX-License-Identifier: Apache-2.0
"""Scores on disk: whole or refused, and only for the data and the policy they were made of."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqil_training.score_file import read_scores, write_scores
from sqil_training.scores import EpisodeScores, ScoreKey, Scores
from sqil_training.survey import Surveyed

from sqil_ros.errors import ScoreError
from sqil_ros.saliency import SaliencySettings, source_steps

KEY = ScoreKey(SaliencySettings(), 'c' * 64, '0123456789abcdef')
LENGTHS = {'t/c/raw/traj_group0/traj0': 20, 't/c/raw/traj_group0/traj1': 13}


def episode(name: str, seed: int = 0) -> EpisodeScores:
    sources = source_steps(LENGTHS[name], 4)
    values = np.random.default_rng(seed + LENGTHS[name]).random(LENGTHS[name])
    return EpisodeScores(name, f'digest of {name}', values[sources], sources)


@pytest.fixture
def scores() -> Scores:
    return Scores(KEY, 0.2, 2.0, {'torch': '2'}, [episode(name) for name in LENGTHS])


def data(**changes: object) -> list[Surveyed]:
    rows = [
        Surveyed(name, Path(), f'digest of {name}', steps, np.zeros((steps, 7)))
        for name, steps in LENGTHS.items()
    ]
    return [replace(rows[0], **changes), *rows[1:]]


def test_what_is_written_is_read(tmp_path: Path, scores: Scores) -> None:
    path = tmp_path / 'new' / 'scores.parquet'
    write_scores(path, scores)
    back = read_scores(path)
    assert (back.key, back.top, back.beta) == (KEY, 0.2, 2.0)
    assert back.versions == {'torch': '2'} and back.dataset == scores.dataset
    for found, wanted in zip(back.episodes, scores.episodes, strict=True):
        assert (found.name, found.digest) == (wanted.name, wanted.digest)
        np.testing.assert_array_equal(found.scores, wanted.scores)
        np.testing.assert_array_equal(found.sources, wanted.sources)
    table = pq.read_table(path)
    assert table.column_names == ['episode', 'digest', 'step', 'score', 'scored_step']
    assert table.num_rows == 33


def test_the_same_scores_are_the_same_bytes(tmp_path: Path, scores: Scores) -> None:
    for name in 'ab':
        write_scores(tmp_path / name, scores)
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'scores.parquet'
    write_scores(path, scores)
    before = path.read_bytes()

    def full(_table: object, file: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(pq, 'write_table', lambda table, file, **_: full(table, file))
    with pytest.raises(ScoreError, match='make room'):
        write_scores(path, scores)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('damage', ['missing', 'cut', 'other'])
def test_a_broken_file_is_refused(tmp_path: Path, scores: Scores, damage: str) -> None:
    path = tmp_path / 'scores.parquet'
    write_scores(path, scores)
    if damage == 'missing':
        path.unlink()
    elif damage == 'cut':
        path.write_bytes(path.read_bytes()[:-200])
    else:
        pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    with pytest.raises(ScoreError, match='scores'):
        read_scores(path)


@pytest.mark.parametrize('change, complaint', [
    ({'scores': np.full(20, np.nan)}, 'no number'),
    ({'scores': np.full(20, -1.0)}, 'negative'),
    ({'sources': np.arange(20) + 1}, 'later frame'),
    ({'scores': np.arange(20.0)}, 'not that of the frame'),
])  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused(
    tmp_path: Path, scores: Scores, change: dict, complaint: str
) -> None:
    wrong = replace(scores.episodes[0], **change)
    write_scores(tmp_path / 's', replace(scores, episodes=[wrong, scores.episodes[1]]))
    with pytest.raises(ScoreError, match=complaint):
        read_scores(tmp_path / 's')


def test_rows_that_were_cut_out_are_noticed(tmp_path: Path, scores: Scores) -> None:
    write_scores(tmp_path / 's', scores)
    table = pq.read_table(tmp_path / 's')
    pq.write_table(table.slice(0, 20), tmp_path / 's')
    with pytest.raises(ScoreError, match='announces'):
        read_scores(tmp_path / 's')
    pq.write_table(table.slice(3), tmp_path / 's')
    with pytest.raises(ScoreError, match='0, 1, 2'):
        read_scores(tmp_path / 's')


@pytest.mark.parametrize('other, named', [
    (replace(KEY, settings=SaliencySettings(side=4)), 'side'),
    (replace(KEY, settings=SaliencySettings(perturbation='uniform')), 'perturbation'),
    (replace(KEY, checkpoint='d' * 64), 'checkpoint'),
    (replace(KEY, contract='f' * 16), 'contract'),
])  # fmt: skip
def test_scores_made_in_another_way_are_refused(other: ScoreKey, named: str) -> None:
    KEY.require(KEY, 'file')
    with pytest.raises(ScoreError, match=named):
        KEY.require(other, 'file')


def test_full_coverage_passes(scores: Scores) -> None:
    scores.require_data(data())


@pytest.mark.parametrize('changes, complaint', [
    ({'name': 't/c/raw/traj_group0/traj7'}, 'traj7 has no scores'),
    ({'digest': 'another'}, 'traj0 is not the one'),
    ({'steps': 21}, r'13 of 34 frames \(38\.2%\)'),
])  # fmt: skip
def test_coverage_below_100_percent_is_refused(
    scores: Scores, changes: dict, complaint: str
) -> None:
    with pytest.raises(ScoreError, match=complaint):
        scores.require_data(data(**changes))


def test_scores_of_more_than_the_data_are_refused(scores: Scores) -> None:
    with pytest.raises(ScoreError, match=r'the data lack 1 of them, such as .*traj0'):
        scores.require_data(data()[1:])


def test_weights_come_by_episode_and_step(scores: Scores) -> None:
    found = scores.weights()
    assert {name: len(alpha) for name, alpha in found.items()} == LENGTHS
    whole = np.concatenate(list(found.values()))
    limit = np.quantile(scores.values, 0.8)
    np.testing.assert_array_equal(whole, np.where(scores.values > limit, 2.0, 1.0))
    assert np.concatenate(list(scores.weights(0.5, 3.0).values())).mean() > whole.mean()


def test_raw_weights_are_the_scores_with_mean_one(scores: Scores) -> None:
    found = scores.raw_weights()
    assert {name: len(alpha) for name, alpha in found.items()} == LENGTHS
    whole = np.concatenate(list(found.values()))
    np.testing.assert_allclose(whole.mean(), 1.0)
    np.testing.assert_allclose(whole / whole[0], scores.values / scores.values[0])
    nothing = [replace(e, scores=np.zeros(len(e.scores))) for e in scores.episodes]
    with pytest.raises(ScoreError, match='not above 0'):
        replace(scores, episodes=nothing).raw_weights()


def test_scores_without_a_difference_give_no_weights(scores: Scores) -> None:
    same = [replace(e, scores=np.ones(len(e.scores))) for e in scores.episodes]
    with pytest.raises(ScoreError, match='mean weight'):
        replace(scores, episodes=same).weights()
