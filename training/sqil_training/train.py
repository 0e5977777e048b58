# SPDX-License-Identifier: Apache-2.0
"""sqil-train: fine-tune a low-bit student beside its full-precision teacher.

examples:
  sqil-score --data data/expert --out scores.parquet
  sqil-train --method sqil --data data/expert --scores scores.parquet --out runs/sqil
  sqil-train --method sqil ... --held data/held --evaluate-every 100
  sqil-train --method qat --profile int3_rtn --data data/expert --out runs/qat
  sqil-train --preset training/configs/paper_openvla.yaml --checkpoint DIR --data D --out runs/p
  accelerate launch --multi_gpu --num_processes 2 -m sqil_training.train --data D --out runs/qbc

The run directory holds `state.safetensors` (the same command goes on from it), `log.jsonl` and
`curves.html`, which draws the log. sqil-export makes a profile of it. docs/finetuning.md explains
the methods.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.errors import ParameterError, SqilError
from sqil_ros.policy.loader import check_checkpoint
from sqil_ros.provenance import provenance
from sqil_ros.share import share_directory
from sqil_training.contract_option import add_contract_option
from sqil_training.finetune.frames import WeightedFrames
from sqil_training.finetune.held_out import HeldOut
from sqil_training.finetune.objective import OBJECTIVES, Loss
from sqil_training.finetune.reporting import look_at, report
from sqil_training.finetune.run_log import write_row
from sqil_training.finetune.settings import RAW, FinetuneSettings, read_preset
from sqil_training.finetune.sharding import sharding_wanted
from sqil_training.finetune.state import load_state, save_state
from sqil_training.finetune.student import load_student, load_teacher
from sqil_training.finetune.trainer import Finetuner
from sqil_training.score_file import read_scores
from sqil_training.survey import Surveyed, dataset_digest, survey


@dataclass(frozen=True)
class Prepared:
    """All that a run needs.

    Attributes:
        finetuner: at step 0.
        base: from which checkpoint and data it begins.
        held: frames to look at on the way; None for none.
    """

    finetuner: Finetuner
    base: str
    held: HeldOut | None


def prepare(
    arguments: argparse.Namespace, settings: FinetuneSettings, accelerator: Accelerator
) -> Prepared:
    """Load everything and let nothing happen yet.

    Raises:
        SqilError: checkpoint, profile, data and scores do not belong together.
    """
    contract = Contract.load(arguments.contract)
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
        weights = (
            scores.raw_weights()
            if settings.weighting == RAW
            else scores.weights(settings.top or None, settings.beta or None)
        )
    frames = _held_out(arguments, settings, surveyed, contract, accelerator)
    teacher = load_teacher(arguments.checkpoint, contract)
    finetuner = Finetuner(
        settings,
        teacher,
        load_student(arguments.checkpoint, settings, contract),
        WeightedFrames(surveyed, weights),
        accelerator,
    )
    digest = dataset_digest([(episode.name, episode.digest) for episode in surveyed])
    held = None
    if frames is not None:
        held = HeldOut(
            frames, arguments.held_frames, teacher, settings.distance, accelerator.device
        )
    return Prepared(finetuner, f'checkpoint {manifest.digest}, data {digest}', held)


def _held_out(
    arguments: argparse.Namespace,
    settings: FinetuneSettings,
    trained: Sequence[Surveyed],
    contract: Contract,
    accelerator: Accelerator,
) -> WeightedFrames | None:
    """The frames of ``--held``, if this process is to look at any.

    Raises:
        ParameterError: there are none, or some that the run is trained with, or the weights are
            shared out, so that no process could look alone.
    """
    if bool(arguments.held) != bool(settings.evaluate_every):
        raise ParameterError(
            f'evaluate_every is {settings.evaluate_every} and --held names '
            f'{len(arguments.held)} trees; give both, or neither.'
        )
    if arguments.held and sharding_wanted(accelerator):
        raise ParameterError(
            'With --use_fsdp no process has the whole student to look at --held with; leave out '
            '--held and --evaluate-every.'
        )
    if arguments.held_frames < 1:
        raise ParameterError(f'--held-frames is {arguments.held_frames}; it must be above 0.')
    if not arguments.held or not accelerator.is_main_process:
        return None
    known = {episode.digest: episode.name for episode in trained}
    surveyed = survey(arguments.held, contract)
    for episode in surveyed:
        if episode.digest in known:
            raise ParameterError(
                f'Episode {episode.name} of --held is {known[episode.digest]} of --data; hold out '
                'episodes that the run is not trained with.'
            )
    return WeightedFrames(surveyed)


def train(prepared: Prepared, run: Path, accelerator: Accelerator) -> None:
    """Train to the last step; saves, reports and looks at held-out frames on the way."""
    finetuner, base, held = prepared.finetuner, prepared.base, prepared.held
    settings = finetuner.settings

    def save() -> None:
        learned, optimizer = finetuner.learned, finetuner.optimizer
        write = accelerator.is_main_process
        save_state(run, finetuner.step, settings, base, learned, optimizer, write)

    def look() -> float:
        """Seconds that it took."""
        began = time.monotonic()
        if held is not None:
            look_at(held, run, finetuner)
        return time.monotonic() - began

    if finetuner.step == 0:
        look()
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
                report(run, finetuner, recent, len(recent) * settings.batch / seconds)
                recent, since = [], time.monotonic()
            if finetuner.step % settings.save == 0:
                save()
            if held is not None and (
                finetuner.step % settings.evaluate_every == 0 or finetuner.step == settings.steps
            ):
                since += look()
    save()


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    accelerator = Accelerator(cpu=arguments.device == 'cpu')
    try:
        settings = _settings(arguments)
        prepared = prepare(arguments, settings, accelerator)
        finetuner = prepared.finetuner
        if arguments.dry_run:
            count = sum(p.numel() for p in finetuner.learned.values())
            accelerator.print(
                f'would train {count:,} of {len(finetuner.learned)} tensors for {settings.steps} '
                f'steps on {len(finetuner.frames):,} frames; nothing was written (--dry-run)'
            )
            return 0
        arguments.out.mkdir(parents=True, exist_ok=True)
        finetuner.step = load_state(
            arguments.out, settings, prepared.base, finetuner.learned, finetuner.optimizer
        )
        if accelerator.is_main_process:
            facts = {
                'settings': dataclasses.asdict(settings),
                'from_step': finetuner.step,
                'processes': accelerator.num_processes,
                'base': prepared.base,
                'made_by': provenance(),
            }
            if prepared.held is not None:
                facts['teacher'] = dataclasses.asdict(prepared.held.teacher)
            write_row(arguments.out, facts)
        train(prepared, arguments.out, accelerator)
    except (SqilError, OSError) as error:
        print(f'sqil-train: {type(error).__name__}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('sqil-train: stopped; the same command goes on from the last state', file=sys.stderr)
        return 130
    finally:
        # Python would end over the threads of the process group, now and then with an abort.
        accelerator.end_training()
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
    add_contract_option(parser)
    parser.add_argument('--scores', type=Path, help='of these data, by sqil-score')
    parser.add_argument('--held', type=Path, nargs='+', default=[], help='trees to look at')
    parser.add_argument('--held-frames', type=int, default=256, help='how many of their frames')
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
