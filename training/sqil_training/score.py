# SPDX-License-Identifier: Apache-2.0
"""sqil-score: how much each frame of a data set matters, asked of the full-precision policy.

examples:
  sqil-score --data data/expert --out out/scores.parquet
  sqil-score --data data/expert --out out/scores.parquet --dry-run     what it would cost
  sqil-score --data data/expert --out out/scores.parquet --top 0.1     other weights, same scores
  sqil-score --data data/expert --episodes 40 --out out/try.parquet --pictures out/pictures
  sqil-score --data data/expert --out out/kl.parquet --discrepancy kl --perturbation gaussian
  sqil-score --data data/expert data/new --out both.parquet --reuse out/scores.parquet
  sqil-score --data data/expert --checkpoint DIR --out FILE --workers 2 --device cuda:0 cuda:1

After an interruption the same command goes on where it stopped. docs/saliency.md has the
equations, and how to read the pictures.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree

import numpy as np
from tqdm import tqdm

from sqil_ros import __version__
from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError, ParameterError, SqilError
from sqil_ros.policy.loader import check_checkpoint
from sqil_ros.policy.openvla.statistics import read_spread
from sqil_ros.saliency import SaliencySettings
from sqil_ros.saliency.discrepancy import DISCREPANCIES
from sqil_ros.saliency.grid import CAMERAS
from sqil_ros.saliency.perturbation import PERTURBATIONS
from sqil_ros.saliency.settings import INPUTS
from sqil_ros.share import share_directory
from sqil_training.contract_option import add_contract_option
from sqil_training.episodes import read_episode
from sqil_training.score_file import read_scores, write_scores
from sqil_training.score_page import Shown, score_page
from sqil_training.score_pictures import moments, spread
from sqil_training.score_report import Effort, plan, report, summary
from sqil_training.score_run import Done, EpisodeScorer, Job, finished, reuse
from sqil_training.score_workers import score_all
from sqil_training.scores import ScoreKey, Scores
from sqil_training.survey import Surveyed, check_statistics, survey
from sqil_training.whole_file import whole_file

PAGE = 'saliency.html'
SHOWN_EPISODES = 4
INTERRUPTED = 130


def make_job(args: argparse.Namespace, contract: Contract) -> Job:
    """What is to be done, with the checkpoint verified.

    Raises:
        SqilError: the checkpoint or a setting is not usable.
    """
    manifest = check_checkpoint(args.checkpoint, contract)
    if manifest.architecture != 'openvla':
        raise CheckpointError(
            f'{args.checkpoint} is of architecture {manifest.architecture!r}, which answers '
            "without logits; score with an 'openvla'."
        )
    if not (0.0 < args.top < 1.0 and args.beta > 0.0 and min(args.workers, args.batch) >= 1):
        raise ParameterError(
            f'--top {args.top}, --beta {args.beta}, --workers {args.workers}, --batch '
            f'{args.batch}: the share must be between 0 and 1, the weight above 0, the others at '
            'least 1.'
        )
    settings = SaliencySettings(
        side=args.grid,
        stride=args.stride,
        discrepancy=args.discrepancy,
        perturbation=args.perturbation,
        cameras=args.cameras,
        inputs=args.inputs,
        seed=args.seed,
    )
    packages = {name: version(name) for name in ('torch', 'transformers', 'numpy')}
    return Job(
        checkpoint=args.checkpoint,
        contract=args.contract,
        dataset=manifest.dataset,
        key=ScoreKey(settings, manifest.digest, contract.hash),
        top=args.top,
        beta=args.beta,
        versions={'sqil_ros': __version__} | packages,
        parts=args.out.with_name(f'{args.out.name}.parts'),
        batch=args.batch,
        devices=tuple(args.device),
    )


def score(job: Job, data: Sequence[Surveyed], workers: int) -> tuple[Scores, Effort]:
    """Score what no earlier run has, and put all together.

    Raises:
        SqilError: scoring failed, or the scores do not stand for the weights they should.
    """
    known = finished(job, data)
    missing = [wanted for wanted in data if wanted.name not in known]
    done: list[Done] = []
    started = time.monotonic()
    frames = sum(wanted.steps for wanted in data)
    with tqdm(total=frames, desc='scoring', unit='frame', disable=None) as bar:
        bar.update(sum(len(episode.scores) for episode in known.values()))
        for one in score_all(job, missing, workers):
            done.append(one)
            bar.update(one.frames)
    effort = Effort.of(done, time.monotonic() - started)
    whole = finished(job, data)
    scores = job.scores([whole[wanted.name] for wanted in data if wanted.name in whole])
    scores.require_data(data)
    scores.weights()
    return scores, effort


def known_scores(job: Job, out: Path, data: Sequence[Surveyed]) -> Scores | None:
    """The scores that ``out`` holds already, with the weights asked for now; None without a file.

    Raises:
        ScoreError: they were made in another way, or of other data.
    """
    if not out.exists():
        return None
    found = read_scores(out)
    job.key.require(found.key, str(out))
    found.require_data(data)
    scores = Scores(found.key, job.top, job.beta, found.versions, found.episodes)
    scores.weights()
    return scores


def draw(job: Job, scores: Scores, data: Sequence[Surveyed], folder: Path) -> Path:
    """Write the page about some of the episodes; returns its path."""
    teacher = EpisodeScorer(job, job.devices[0]).teacher
    folders = {wanted.name: wanted.folder for wanted in data}
    shown = []
    for some in tqdm(spread(scores.episodes, SHOWN_EPISODES), desc='drawing', disable=None):
        episode = read_episode(folders[some.name])
        shown.append(Shown(episode, some, moments(teacher, episode, some, job.key.settings)))
    path = folder / PAGE
    with whole_file(path) as file:
        file.write(score_page(scores, shown).encode())
    return path


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _arguments(argv)
    try:
        contract = Contract.load(args.contract)
        job = make_job(args, contract)
        data = survey(args.data, contract, args.episodes)
        learned = read_spread(args.checkpoint, job.dataset, 'action')
        check_statistics(np.concatenate([wanted.actions for wanted in data]), learned)
        if args.dry_run:
            print(plan(job, data))
            return 0
        scores, effort = known_scores(job, args.out, data), None
        if scores is None:
            reuse(job, args.reuse, data)
            scores, effort = score(job, data, args.workers)
        write_scores(args.out, scores)
        rmtree(job.parts, ignore_errors=True)
        print(summary(scores, effort, args.out))
        if args.json and effort is None:
            print(f'{args.json} is not written: nothing was scored in this run')
        elif args.json and effort:
            with whole_file(args.json) as file:
                file.write(report(job, scores, effort, args.workers))
        if args.pictures:
            print(f'pictures in {draw(job, scores, data, args.pictures)}')
    except (SqilError, OSError) as error:
        print(f'sqil-score: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            'sqil-score: interrupted; finished episodes are kept, run the same command to go on.',
            file=sys.stderr,
        )
        return INTERRUPTED
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='sqil-score', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default, paper = share_directory() / 'models' / 'toy_sink_openvla', SaliencySettings()
    add = parser.add_argument
    add('--data', type=Path, nargs='+', required=True, help='episode trees')
    add('--out', type=Path, required=True, help='file of scores (Parquet)')
    add('--checkpoint', type=Path, default=default, help='the teacher, at full precision')
    add_contract_option(parser)
    add('--grid', type=int, default=paper.side, help='cells along a side of a picture, N')
    add('--stride', type=int, default=paper.stride, help='score every so many frames, k')
    add('--discrepancy', choices=tuple(DISCREPANCIES), default=paper.discrepancy)
    add('--perturbation', choices=tuple(PERTURBATIONS), default=paper.perturbation)
    add(
        '--cameras', choices=CAMERAS, default=paper.cameras,
        help='disturb a cell of all pictures together, or of each on its own at more cost',
    )  # fmt: skip
    add('--inputs', choices=INPUTS, default=paper.inputs, help='what is disturbed')
    add('--seed', type=int, default=paper.seed, help='of the noise')
    add('--top', type=float, default=0.2, help='share of the frames that counts more, p')
    add('--beta', type=float, default=2.0, help='how much more')
    add('--episodes', type=int, help='score only so many, evenly spread over the data')
    add('--reuse', type=Path, nargs='+', default=[], help='take what these files of scores have')
    add('--workers', type=int, default=2, help='processes')
    add('--batch', type=int, default=32, help='disturbed states in one pass')
    add('--device', nargs='+', default=['cpu'], help='torch devices, dealt out to the processes')
    add('--pictures', type=Path, help=f'folder for {PAGE}: heat maps, curves, histogram')
    add('--json', type=Path, help='file for what it took: passes, seconds, provenance')
    add('--dry-run', action='store_true', help='check everything and say what it would cost')
    return parser.parse_args(argv)


if __name__ == '__main__':
    sys.exit(main())
