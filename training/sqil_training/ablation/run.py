# SPDX-License-Identifier: Apache-2.0
"""Scores, trains, exports and evaluates the cells, side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from sqil_ros.errors import TrainingError
from sqil_ros.provenance import provenance
from sqil_ros.quant.profile import PROFILES_DIRECTORY
from sqil_training.ablation.knobs import Cell
from sqil_training.ablation.study import Study, tables
from sqil_training.whole_file import whole_file

_LOG_END = 400


def train_cells(study: Study) -> None:
    """Score, train and export what is missing.

    Raises:
        TrainingError: a command failed.
    """
    prepare_copy(study)
    missing = [cell for cell in study.cells() if not study.exported(cell)]
    scores = {cell.scores: cell for cell in missing}
    wanted = [cell for name, cell in scores.items() if not (study.work / name).exists()]

    def make(cell: Cell) -> None:
        _run(study, study.train_command(cell))
        _run(study, study.export_command(cell))

    with ThreadPoolExecutor(study.workers) as pool:
        for jobs, work, unit in (
            (wanted, lambda cell: _run(study, study.score_command(cell)), 'scoring'),
            (missing, make, 'training'),
        ):
            results = pool.map(work, jobs)
            for _ in tqdm(results, desc=unit, total=len(jobs), unit='cell', disable=None):
                pass


def prepare_copy(study: Study) -> None:
    """Lay out the checkpoint once more, by links, with the one profile that cells begin with."""
    profiles = study.copy / PROFILES_DIRECTORY
    profiles.mkdir(parents=True, exist_ok=True)
    begin = study.checkpoint / PROFILES_DIRECTORY / study.profile
    if not begin.is_dir():
        raise TrainingError(
            f'{study.checkpoint} has no profile {study.profile}; make it with sqil-quantize.'
        )
    for path in [*study.checkpoint.iterdir(), begin]:
        link = (profiles if path == begin else study.copy) / path.name
        if path.name != PROFILES_DIRECTORY and not link.exists():
            link.symlink_to(path.resolve())


def evaluate_cells(study: Study, first_seed: int, episodes: int, result: Path) -> None:
    """Evaluate all cells from the same states and write the tables beside the outcomes.

    Raises:
        TrainingError: the evaluation failed.
    """
    names = ','.join(study.profile_of(cell) for cell in study.cells())
    _run(study, [
        'sqil_training.evaluate', '--compare', names, '--checkpoint', str(study.copy),
        '--first-seed', str(first_seed), '--episodes', str(episodes), '--batch', '6',
        '--workers', str(study.workers), '--json', str(result),
    ])  # fmt: skip
    text = result.read_text(encoding='utf-8').rstrip()
    more = json.dumps({'tables': tables(study), 'study': provenance()}, indent=1)
    with whole_file(result) as file:
        file.write(f'{text[:-1].rstrip()},{more[1:]}\n'.encode())


def _run(study: Study, words: Sequence[str]) -> None:
    """One command in a process of its own, with one thread.

    Raises:
        TrainingError: it failed; says how.
    """
    threads = {'OMP_NUM_THREADS': '1', 'OMP_WAIT_POLICY': 'PASSIVE'}
    done = subprocess.run(
        [sys.executable, '-m', *words], env=os.environ | threads, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise TrainingError(
            f'`python -m {" ".join(words)}` ended with {done.returncode}: '
            f'{done.stderr[-_LOG_END:].strip()}. Mend that and run the same command again.'
        )
