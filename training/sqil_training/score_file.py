# SPDX-License-Identifier: Apache-2.0
"""Scores on disk: one Parquet table, a row per frame, that says how it was made.

Columns: ``episode``, ``digest`` (of the episode's content), ``step``, ``score`` and
``scored_step`` (the frame whose score is reused). A file is written whole and checked whole.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sqil_ros.errors import ParameterError, ScoreError
from sqil_ros.saliency import SaliencySettings
from sqil_training.scores import EpisodeScores, ScoreKey, Scores
from sqil_training.whole_file import whole_file

SCHEMA = 1
_METADATA = b'sqil_scores'


def write_scores(path: Path, scores: Scores) -> None:
    """Write ``scores``; the same scores always make the same bytes.

    Raises:
        ScoreError: the disk is full or not to be written to; what was there stays.
    """
    facts = {
        'schema': SCHEMA,
        'key': asdict(scores.key),
        'top': scores.top,
        'beta': scores.beta,
        'dataset': scores.dataset,
        'versions': dict(scores.versions),
    }
    table = pa.concat_tables([_table(episode) for episode in scores.episodes])
    table = table.replace_schema_metadata({_METADATA: json.dumps(facts, sort_keys=True)})
    try:
        with whole_file(path) as file:
            pq.write_table(table, file, compression='zstd')
    except OSError as error:
        raise ScoreError(
            f'{path} could not be written ({error}); make room and run the same command again.'
        ) from error


def read_scores(path: Path) -> Scores:
    """Read and check a file; inverse of :func:`write_scores`.

    Raises:
        ScoreError: it is missing, truncated, of another schema or contradicts itself.
    """
    if not path.is_file():
        raise ScoreError(f'There are no scores at {path}; make them with sqil-score.')
    try:
        table = pq.read_table(path)
        facts = json.loads(table.schema.metadata[_METADATA])
        if facts['schema'] != SCHEMA:
            raise ScoreError(
                f'{path} has schema {facts["schema"]}, this version reads {SCHEMA}; score again.'
            )
        key = facts['key']
        scores = Scores(
            ScoreKey(SaliencySettings(**key['settings']), key['checkpoint'], key['contract']),
            facts['top'],
            facts['beta'],
            facts['versions'],
            _episodes(table),
        )
        dataset = facts['dataset']
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError, ParameterError) as e:
        raise ScoreError(f'{path} is no file of scores ({e!r}); score again.') from e
    for episode in scores.episodes:
        if complaint := _complaint(episode):
            raise ScoreError(f'{path}: episode {episode.name} {complaint}; score again.')
    if scores.dataset != dataset:
        raise ScoreError(f'{path} does not hold the episodes that it announces; score again.')
    return scores


def _table(episode: EpisodeScores) -> pa.Table:
    length = len(episode.scores)
    return pa.table(
        {
            'episode': pa.array([episode.name] * length),
            'digest': pa.array([episode.digest] * length),
            'step': pa.array(np.arange(length), pa.int32()),
            'score': pa.array(episode.scores, pa.float64()),
            'scored_step': pa.array(episode.sources, pa.int32()),
        }
    )


def _episodes(table: pa.Table) -> list[EpisodeScores]:
    names = table['episode'].to_pylist()
    firsts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    ends = [*firsts[1:], len(names)]
    return [
        _episode(table.slice(first, end - first)) for first, end in zip(firsts, ends, strict=True)
    ]


def _episode(rows: pa.Table) -> EpisodeScores:
    if not np.array_equal(rows['step'].to_numpy(), np.arange(rows.num_rows)):
        raise ValueError(f'steps of {rows["episode"][0]} are not 0, 1, 2 ...')
    return EpisodeScores(
        name=rows['episode'][0].as_py(),
        digest=rows['digest'][0].as_py(),
        scores=rows['score'].to_numpy(),
        sources=rows['scored_step'].to_numpy().astype(np.int64),
    )


def _complaint(episode: EpisodeScores) -> str:
    """What makes no sense, or nothing."""
    if not np.all(np.isfinite(episode.scores)) or episode.scores.min() < 0.0:
        return 'has a score that is negative or no number'
    if episode.sources.min() < 0 or np.any(episode.sources > np.arange(len(episode.scores))):
        return 'has a score from a later frame'
    if not np.array_equal(episode.scores, episode.scores[episode.sources]):
        return 'has a score that is not that of the frame it names'
    return ''
