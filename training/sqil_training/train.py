# SPDX-License-Identifier: Apache-2.0
"""sqil-train: fine-tune a low-bit student beside its full-precision teacher.

examples:
  sqil-score --data data/expert --out scores.parquet
  sqil-train --method sqil --data data/expert --scores scores.parquet --out runs/sqil
  sqil-train --method qat --profile int3_rtn --data data/expert --out runs/qat
  sqil-train --preset training/configs/paper_openvla.yaml --checkpoint DIR --data D --out runs/p
  accelerate launch --num_processes 2 -m sqil_training.train --method qbc --data D --out runs/qbc

The run directory holds `state.safetensors` (the same command goes on from it) and `log.jsonl`.
sqil-export makes a profile of it. docs/finetuning.md explains the methods.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.errors import ParameterError, SqilError
from sqil_ros.policy.loader import check_checkpoint
from sqil_ros.provenance import provenance
from sqil_ros.share import share_directory
from sqil_training.finetune.frames import WeightedFrames
from sqil_training.finetune.objective import OBJECTIVES, Loss
from sqil_training.finetune.settings import FinetuneSettings, read_preset
from sqil_training.finetune.state import load_state, save_state
from sqil_training.finetune.student import load_student, load_teacher
from sqil_training.finetune.trainer import Finetuner
from sqil_training.score_file import read_scores
from sqil_training.survey import dataset_digest, survey

LOG = 'log.jsonl'


def prepare(
    arguments: argparse.Namespace, settings: FinetuneSettings, accelerator: Accelerator
) -> tuple[Finetuner, str]:
    """A trainer at step 0, and a text that says from which checkpoint and data it begins.

    Raises:
        SqilError: checkpoint, profile, data and scores do not belong together.
    """
    contract = Contract.load()
    manifest = check_checkpoint(arguments.checkpoint, contract)
    surveyed = survey(arguments.data, contract, arguments.episodes)
    weights = None
    if OBJECTIVES[settings.method].weighted:
        if arguments.scores is None:
            raise ParameterError(
                f'Method {settings.method} weights frames by their saliency; name their scores '
                'with --scores, or choose qat or qbc.'
            )
        scores = read_scores(arguments.scores)
        scores.require_data(surveyed)
        weights = scores.weights(settings.top or None, settings.beta or None)
    finetuner = Finetuner(
        settings,
        load_teacher(arguments.checkpoint, contract),
        load_student(arguments.checkpoint, settings, contract),
        WeightedFrames(surveyed, weights),
        accelerator,
    )
    digest = dataset_digest([(episode.name, episode.digest) for episode in surveyed])
    return finetuner, f'checkpoint {manifest.digest}, data {digest}'


def train(finetuner: Finetuner, run: Path, base: str, accelerator: Accelerator) -> None:
    """Train to the last step; saves and reports on the way."""
    settings = finetuner.settings

    def save() -> None:
        if accelerator.is_main_process:
            save_state(run, finetuner.step, settings, base, finetuner.learned, finetuner.optimizer)

    recent: list[Loss] = []
    since = time.monotonic()
    with tqdm(
        total=settings.steps, initial=finetuner.step, desc=settings.method, unit='step',
        disable=None if accelerator.is_main_process else True,
    ) as bar:  # fmt: skip
        for terms in finetuner.train():
            recent.append(terms)
            bar.update()
            bar.set_postfix(loss=f'{float(terms.total):.3f}')
            if finetuner.step % settings.report == 0 and accelerator.is_main_process:
                seconds = time.monotonic() - since
                _report(run, finetuner.step, recent, len(recent) * settings.batch / seconds)
                recent, since = [], time.monotonic()
            if finetuner.step % settings.save == 0:
                save()
    save()


def _report(run: Path, step: int, recent: Sequence[Loss], frames_per_s: float) -> None:
    row: dict[str, float] = {'step': step}
    for name in ('total', 'imitation', 'distillation'):
        values = torch.stack([getattr(terms, name) for terms in recent])
        row[name] = round(float(values.mean()), 5)
    row['frames_per_s'] = round(frames_per_s, 1)
    _log(run, row)


def _log(run: Path, row: dict[str, Any]) -> None:
    with (run / LOG).open('a', encoding='utf-8') as log:
        log.write(json.dumps(row) + '\n')


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    accelerator = Accelerator(cpu=arguments.device == 'cpu')
    try:
        settings = _settings(arguments)
        finetuner, base = prepare(arguments, settings, accelerator)
        if arguments.dry_run:
            count = sum(p.numel() for p in finetuner.learned.values())
            accelerator.print(
                f'would train {count:,} of {len(finetuner.learned)} tensors for {settings.steps} '
                f'steps on {len(finetuner.frames):,} frames; nothing was written (--dry-run)'
            )
            return 0
        arguments.out.mkdir(parents=True, exist_ok=True)
        finetuner.step = load_state(
            arguments.out, settings, base, finetuner.learned, finetuner.optimizer
        )
        if accelerator.is_main_process:
            facts = {'settings': dataclasses.asdict(settings), 'from_step': finetuner.step}
            _log(arguments.out, facts | {'base': base, 'made_by': provenance()})
        train(finetuner, arguments.out, base, accelerator)
    except (SqilError, OSError) as error:
        print(f'sqil-train: {type(error).__name__}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('sqil-train: stopped; the same command goes on from the last state', file=sys.stderr)
        return 130
    return 0


def _settings(arguments: argparse.Namespace) -> FinetuneSettings:
    """The preset's values where the command line says nothing else."""
    chosen = read_preset(arguments.preset) if arguments.preset else {}
    for entry in dataclasses.fields(FinetuneSettings):
        value = getattr(arguments, entry.name)
        if value is not None:
            chosen[entry.name] = value
    return FinetuneSettings(**chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='sqil-train',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    checkpoint = share_directory() / 'models' / 'toy_sink_openvla'
    parser.add_argument('--checkpoint', type=Path, default=checkpoint, help='the teacher')
    parser.add_argument('--data', type=Path, nargs='+', required=True, help='episode trees')
    parser.add_argument('--episodes', type=int, help='only so many, evenly spread over the data')
    parser.add_argument('--scores', type=Path, help='of these data, by sqil-score')
    parser.add_argument('--out', type=Path, required=True, help='run directory')
    parser.add_argument('--preset', type=Path, help='YAML file of settings')
    parser.add_argument('--device', choices=['cpu', 'auto'], default='auto')
    parser.add_argument('--threads', type=int, default=2, help='torch threads per process')
    parser.add_argument('--dry-run', action='store_true', help='check everything, train nothing')
    group = parser.add_argument_group('settings', 'win over those of the preset')
    for entry in dataclasses.fields(FinetuneSettings):
        group.add_argument(
            f'--{entry.name.replace("_", "-")}',
            type=type(entry.default),
            help=f'({entry.default})',
        )
    return parser


if __name__ == '__main__':
    sys.exit(main())
