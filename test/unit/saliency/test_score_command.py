# SPDX-License-Identifier: Apache-2.0
"""sqil-score from the command line to a file of scores, through every interruption."""

from __future__ import annotations

import errno
import json
import queue
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sqil_training import score_run, score_workers
from sqil_training.score import INTERRUPTED, main
from sqil_training.score_file import read_scores, write_scores

from sqil_ros.errors import ScoreError

Run = Callable[..., int]


@pytest.fixture
def run(data: Path, checkpoint: Path) -> Run:
    def command(out: Path, *more: str, of: Path = checkpoint) -> int:
        words = ['--data', data, '--checkpoint', of, '--out', out, '--workers', '1', '--grid', '2']
        return main([str(word) for word in (*words, *more)])

    return command


@pytest.fixture
def whole(run: Run, tmp_path: Path) -> Path:
    """An uninterrupted run."""
    out = tmp_path / 'whole.parquet'
    assert run(out) == 0
    return out


def test_every_frame_gets_a_score(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'new' / 'scores.parquet'
    assert run(out, '--json', str(tmp_path / 'cost.json')) == 0
    assert '4 episodes, 44 frames, coverage 100 %' in capsys.readouterr().out
    scores = read_scores(out)
    assert [len(episode.scores) for episode in scores.episodes] == [8, 10, 12, 14]
    assert scores.values.min() > 0.0
    assert list(out.parent.iterdir()) == [out], 'nothing else is left behind'
    cost = json.loads((tmp_path / 'cost.json').read_text())
    assert cost['teacher_passes'] == 5 * (2 + 2 + 3 + 3)
    assert cost['passes_per_frame'] == pytest.approx(50 / 44, abs=1e-3)


def test_a_second_run_scores_nothing(
    run: Run, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = whole.read_bytes()
    monkeypatch.setattr(score_run, 'EpisodeScorer', None)
    assert run(whole, '--json', 'cost.json') == 0
    assert whole.read_bytes() == before
    assert 'cost.json is not written' in capsys.readouterr().out


def test_other_weights_need_no_new_scores(
    run: Run, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_scores(whole)
    monkeypatch.setattr(score_run, 'EpisodeScorer', None)
    assert run(whole, '--top', '0.4', '--beta', '3') == 0
    after = read_scores(whole)
    assert (after.top, after.beta) == (0.4, 3.0)
    np.testing.assert_array_equal(after.values, before.values)


def test_two_processes_give_the_same_bytes(run: Run, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / 'two.parquet'
    assert run(out, '--workers', '2') == 0
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize('disturbance, status, words', [
    (KeyboardInterrupt(), INTERRUPTED, 'run the same command'),
    (OSError(errno.ENOSPC, 'No space left on device'), 1, 'make room'),
])  # fmt: skip
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    run: Run, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], disturbance: BaseException, status: int, words: str,
) -> None:  # fmt: skip
    """The disturbance comes in the middle of writing the third episode."""
    out = tmp_path / 'scores.parquet'
    written = pq.write_table
    calls = []

    def write(table: object, file: object, **more: object) -> None:
        calls.append(table)
        if len(calls) == 3:
            file.write(b'half')  # type: ignore[attr-defined]
            raise disturbance
        written(table, file, **more)

    with monkeypatch.context() as patch:
        patch.setattr(pq, 'write_table', write)
        assert run(out) == status
    assert words in capsys.readouterr().err
    parts = out.with_name('scores.parquet.parts')
    assert not out.exists()
    assert len(list(parts.iterdir())) == 2, 'two whole parts and nothing half-written'

    answered = []
    monkeypatch.setattr(
        score_run, 'write_scores', lambda path, s: (answered.append(path), write_scores(path, s))
    )
    assert run(out) == 0
    assert len(answered) == 2, 'only what was missing'
    assert out.read_bytes() == whole.read_bytes()
    assert not parts.exists()


def test_scores_of_other_files_are_reused(run: Run, whole: Path, tmp_path: Path) -> None:
    """Of two episodes: one as it was, one that is another now."""
    out, old = tmp_path / 'scores.parquet', tmp_path / 'old.parquet'
    scores = read_scores(whole)
    kept, changed = scores.episodes[:2]
    marked = replace(kept, scores=kept.scores + 1.0)
    write_scores(old, replace(scores, episodes=[marked, replace(changed, digest='0' * 64)]))
    assert run(out, '--reuse', str(old)) == 0
    found = read_scores(out)
    np.testing.assert_array_equal(found.episodes[0].scores, marked.scores)
    for ours, theirs in zip(found.episodes[1:], scores.episodes[1:], strict=True):
        np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_scores_that_were_made_in_another_way_are_not_reused(
    run: Run, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'scores.parquet'
    assert run(out, '--reuse', str(whole), '--seed', '9') == 1
    assert 'seed' in capsys.readouterr().err
    assert not out.exists()


def test_a_damaged_part_is_scored_again(run: Run, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / 'scores.parquet'
    parts = out.with_name('scores.parquet.parts')
    parts.mkdir()
    name = read_scores(whole).episodes[1].name
    score_run.part_path(parts, name).write_bytes(b'PAR1 torn')
    assert run(out) == 0
    assert out.read_bytes() == whole.read_bytes()


def test_an_unfinished_run_with_other_settings_is_refused(
    run: Run, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'scores.parquet'
    part = score_run.part_path(out.with_name('scores.parquet.parts'), 'x')
    scores = read_scores(whole)
    name = scores.episodes[0].name
    write_scores(part.with_name(score_run.part_path(Path(), name).name), scores)
    assert run(out, '--perturbation', 'uniform') == 1
    assert "perturbation 'blur', wanted is 'uniform'" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize('words, complaint', [
    (['--stride', '2'], 'stride'),
    (['--seed', '1'], 'seed'),
    (['--discrepancy', 'kl'], 'discrepancy'),
    (['--episodes', '2'], 'the data lack 2 of them'),
])  # fmt: skip
def test_a_finished_file_of_another_kind_is_never_replaced(
    run: Run, whole: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    before = whole.read_bytes()
    assert run(whole, *words) == 1
    assert complaint in capsys.readouterr().err
    assert whole.read_bytes() == before


def test_scores_of_another_checkpoint_are_refused(
    run: Run, whole: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(checkpoint, tmp_path / 'other')
    manifest = other / 'checkpoint.json'
    content = json.loads(manifest.read_text())
    content['files'].pop('tokenizer.json')
    manifest.write_text(json.dumps(content))
    assert run(whole, of=other) == 1
    assert 'checkpoint' in capsys.readouterr().err


def test_scores_of_an_episode_that_changed_are_refused(
    run: Run, whole: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next(data.rglob('traj2/lang.txt')).write_text('lift the cup\n')
    assert run(whole) == 1
    assert 'traj2 is not the one that was scored' in capsys.readouterr().err


def test_an_episode_that_vanished_is_named(
    run: Run, whole: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(next(data.rglob('traj3')))
    assert run(whole) == 1
    assert 'traj3' in capsys.readouterr().err


def test_a_rehearsal_writes_nothing(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'scores.parquet'
    assert run(out, '--dry-run') == 0
    assert '4 episodes, 44 frames, 10 of them would be scored' in capsys.readouterr().out
    assert not out.exists()


@pytest.mark.parametrize('words, complaint', [
    (['--grid', '0'], 'side'),
    (['--grid', '50'], 'does not fit'),
    (['--top', '1.5'], 'between 0 and 1'),
    (['--workers', '0'], 'at least 1'),
])  # fmt: skip
def test_impossible_settings_are_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    assert run(tmp_path / 's', *words) == 1
    assert complaint in capsys.readouterr().err


def test_proprioception_and_text_logits_can_be_scored(run: Run, tmp_path: Path) -> None:
    assert run(tmp_path / 'a', '--inputs', 'proprio') == 0
    assert run(tmp_path / 'b', '--discrepancy', 'text_l2', '--perturbation', 'laplacian') == 0
    assert not np.array_equal(
        read_scores(tmp_path / 'a').values, read_scores(tmp_path / 'b').values
    )


def test_a_teacher_that_answers_nan_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        'sqil_ros.policy.openvla.model.OpenVLA.action_logits',
        lambda self, states: torch.full((*states.shape[:-1], 256), torch.nan),
    )
    assert run(tmp_path / 's') == 1
    assert 'step 0 of lift_eggplant/c/raw/traj_group0/traj0' in capsys.readouterr().err


def test_a_process_that_died_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_workers, '_LISTEN_S', 0.01)
    processes = [SimpleNamespace(exitcode=None), SimpleNamespace(exitcode=-9)]
    with pytest.raises(ScoreError, match='status -9'):
        next(score_workers._gathered(queue.Queue(), processes))
