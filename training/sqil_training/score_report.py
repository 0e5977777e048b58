# SPDX-License-Identifier: Apache-2.0
"""What scoring a data set takes, before and after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sqil_ros.provenance import provenance
from sqil_ros.saliency import scored_steps, threshold
from sqil_training.score_run import Done, Job, finished
from sqil_training.scores import Scores
from sqil_training.survey import Surveyed

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Effort:
    """What scoring took, as counted.

    Attributes:
        episodes: scored in this run.
        frames: that they have.
        passes: states that the teacher answered.
        encoded: pictures that its encoders saw.
        seconds: from the start of the processes to the last episode.
    """

    episodes: int
    frames: int
    passes: int
    encoded: int
    seconds: float

    @classmethod
    def of(cls, done: Sequence[Done], seconds: float) -> Effort:
        """The sum over some episodes."""
        return cls(
            len(done),
            sum(one.frames for one in done),
            sum(one.passes for one in done),
            sum(one.encoded for one in done),
            seconds,
        )

    @property
    def passes_per_frame(self) -> float:
        """Teacher passes per frame of the data set."""
        return self.passes / max(1, self.frames)


def plan(job: Job, data: Sequence[Surveyed]) -> str:
    """What a run would do."""
    frames = sum(wanted.steps for wanted in data)
    stride = job.key.settings.stride
    scored = sum(len(scored_steps(wanted.steps, stride)) for wanted in data)
    known = finished(job, data)
    return (
        f'{len(data)} episodes, {frames} frames, {scored} of them would be scored; '
        f'{len(known)} episodes are scored already. Nothing was written (--dry-run).'
    )


def summary(scores: Scores, effort: Effort | None, out: Path) -> str:
    """What a run has done, or found done already."""
    values = scores.values
    alpha = np.concatenate(list(scores.weights().values()))
    lines = [
        f'{len(scores.episodes)} episodes, {len(values)} frames, coverage 100 %',
        f'scores {values.min():.4g} to {values.max():.4g}, median {np.median(values):.4g}, '
        f'threshold {threshold(values, scores.top):.4g}; mean weight {alpha.mean():.4f}',
    ]
    if effort and effort.frames:
        lines.append(
            f'{effort.passes_per_frame:.2f} teacher passes and '
            f'{effort.encoded / effort.frames:.2f} encoded pictures a frame, '
            f'{effort.frames / effort.seconds:.1f} frames a second'
        )
    return '\n'.join([*lines, f'written to {out}'])


def report(job: Job, scores: Scores, effort: Effort, workers: int) -> bytes:
    """The content of the result file."""
    content = {
        'settings': asdict(job.key.settings),
        'workers': workers,
        'batch': job.batch,
        'episodes': effort.episodes,
        'frames': effort.frames,
        'teacher_passes': effort.passes,
        'passes_per_frame': round(effort.passes_per_frame, 3),
        'pictures_encoded': effort.encoded,
        'seconds': round(effort.seconds, 2),
        'frames_per_s': round(effort.frames / effort.seconds, 3),
        'quantiles': {f'{q:g}': float(np.quantile(scores.values, q)) for q in _QUANTILES},
        'dataset': scores.dataset,
        'checkpoint': job.key.checkpoint,
        'provenance': provenance(),
    }
    return (json.dumps(content, indent=1) + '\n').encode()
