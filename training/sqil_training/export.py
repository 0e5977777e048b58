# SPDX-License-Identifier: Apache-2.0
"""sqil-export: a profile of a fine-tuned student; a profile for transformers; a parity report.

examples:
  sqil-export --run runs/sqil                               int3_sqil beside the other profiles
  sqil-export --run runs/sqil --variant b3 --dry-run        would be int3_sqil_b3
  sqil-export --profile int4_rtn --to out/int4_rtn          a folder that transformers reads
  sqil-export --profile int4_rtn --held data/held --report out/int4_rtn.json
  sqil-export --run runs/sqil --to out/int3_sqil --held data/held --scores out/held.parquet
  sqil-eval --profile int3_sqil --json out/int3_sqil.json

The profile holds packed integers, everything else at 16 bits and, where the run trained a change
beside the integers, its two thin matrices. --to writes a folder in compressed-tensors'
pack-quantized format with a model card. --held compares the profile's fake, packed and executed
form on episodes that it was not trained with. Whatever is written is read back before it is put
in place. docs/export.md tells what is in the folder and in the report.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.errors import ParameterError, ProfileError, SqilError
from sqil_ros.policy.openvla.statistics import read_normalizer
from sqil_ros.provenance import provenance
from sqil_ros.quant.manifest import Profile
from sqil_ros.quant.selection import linear_layers
from sqil_ros.share import share_directory
from sqil_training.contract_option import add_contract_option
from sqil_training.exporting.card import Facts, card
from sqil_training.exporting.folder import (
    CARD,
    MARKS,
    folder_bytes,
    packed_model,
    seal,
    write_weights,
)
from sqil_training.exporting.forms import MEANING, forms
from sqil_training.exporting.held_out import HeldOut, held_out
from sqil_training.exporting.pack_quantized import refusal
from sqil_training.exporting.parity import measure
from sqil_training.exporting.report import Report, write_report
from sqil_training.exporting.subject import Subject, subject_of_profile, subject_of_run
from sqil_training.whole_folder import check_target, whole_folder


def compare(subject: Subject, profile: Profile, data: HeldOut) -> Report:
    """Let a profile act on held-out frames in all its forms.

    Raises:
        SqilError: the checkpoint or the profile is unsound.
    """
    normalizer = read_normalizer(subject.checkpoint, subject.manifest.dataset, 'action')
    total = len(MEANING) * data.frames
    with tqdm(total=total, desc='comparing', unit='frame', disable=None) as bar:
        found = forms(subject.checkpoint, subject.name, subject.contract, subject.student)
        rows = measure(found, data, normalizer, bar.update)
    return Report(profile, subject.manifest, data, rows)


def write_folder(to: Path, subject: Subject, profile: Profile, report: Report | None) -> int:
    """Write a profile for transformers, with its card; returns the bytes of its weights.

    Raises:
        ParameterError: ``to`` is something that no export made.
        ProfileError: the profile is unsound, or the folder does not give it back.
    """
    model = packed_model(subject.checkpoint, subject.directory)
    with whole_folder(to, MARKS) as scratch:
        write_weights(scratch, subject.checkpoint, profile, model)
        size = folder_bytes(scratch)
        facts = Facts(
            profile=profile,
            checkpoint=subject.manifest,
            linear_layers=len(linear_layers(model)),
            weight_bytes=size,
            full_bytes=sum(p.stat().st_size for p in subject.checkpoint.glob('*.safetensors')),
            report=report,
            made_by=provenance(),
        )
        (scratch / CARD).write_text(card(facts), encoding='utf-8')
        seal(scratch, profile, model)
    return size


def export(args: argparse.Namespace) -> Iterator[str]:
    """Check all that was asked for, then write it; yields what to tell.

    Raises:
        SqilError: something is unsound, or does not belong together.
    """
    contract = Contract.load(args.contract)
    if args.run is not None:
        subject = subject_of_run(args.checkpoint, args.run, contract, tuple(args.variant))
    else:
        subject = subject_of_profile(args.checkpoint, args.profile, contract)
    if args.to is not None:
        check_target(args.to, MARKS)
        if args.to.resolve().parent == subject.directory.resolve().parent:
            raise ParameterError(
                f'{args.to} lies among the profiles of {args.checkpoint}, where robots look for '
                'theirs; name a folder elsewhere.'
            )
        if reason := refusal(subject.base):
            raise ProfileError(f'{subject.name} cannot be written to {args.to}: {reason}')
    data = None
    if args.held is not None:
        seen, manifest = subject.trained_from, subject.manifest
        data = held_out(args.held, args.scores, contract, manifest, seen, args.episodes)
    if args.dry_run:
        yield from _plan(args, subject, data)
        return
    profile = subject.written()
    if subject.lesson is not None:
        yield f'{profile.name}: {profile.disk_bytes / 1e6:.2f} MB in {subject.directory}'
    report = None if data is None else compare(subject, profile, data)
    if report is not None:
        yield report.table
    if report is not None and args.report is not None:
        write_report(args.report, report)
        yield f'report: {args.report}'
    if args.to is not None:
        size = write_folder(args.to, subject, profile, report)
        yield f'{profile.name} for transformers: weights of {size / 1e6:.2f} MB in {args.to}'


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _arguments(argv)
    try:
        for line in export(args):
            print(line, flush=True)
    except (SqilError, OSError) as error:
        print(f'sqil-export: {type(error).__name__}: {error}', file=sys.stderr)
        return 1
    return 0


def _plan(args: argparse.Namespace, subject: Subject, data: HeldOut | None) -> Iterator[str]:
    """What would be written; everything was checked."""
    if subject.lesson is not None:
        yield f'would write {subject.name} to {subject.directory}'
    if data is not None:
        where = '' if args.report is None else f', report to {args.report}'
        yield f'would compare {subject.name} on {data.frames} frames{where}'
    if args.to is not None:
        yield f'would write {subject.name} for transformers to {args.to}'
    yield 'nothing was written (--dry-run)'


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='sqil-export', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    checkpoint = share_directory() / 'models' / 'toy_sink_openvla'
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--run', type=Path, help='directory of sqil-train; becomes a profile')
    what.add_argument('--profile', help='a profile that the checkpoint has')
    add = parser.add_argument
    add('--checkpoint', type=Path, default=checkpoint, help='the teacher')
    add_contract_option(parser)
    add('--variant', nargs='*', default=[], help='added to the name of the profile of a run')
    add('--to', type=Path, metavar='DIR', help='write it for transformers; an old export goes')
    add('--held', type=Path, metavar='DIR', help='an episode tree that was not trained with')
    add('--episodes', type=int, help='only so many of --held, evenly spread, as in sqil-score')
    add('--scores', type=Path, help='saliency of --held, by sqil-score: weighted figures too')
    add('--report', type=Path, metavar='FILE.json', help='what was measured on --held')
    add('--dry-run', action='store_true', help='check everything, write nothing')
    args = parser.parse_args(argv)
    if args.held is None and (args.report or args.scores or args.episodes):
        parser.error(
            '--report, --scores and --episodes are about held-out episodes: name them, --held DIR'
        )
    if args.profile is not None and args.variant:
        parser.error(
            '--variant names the profile of a run; a profile that is there keeps its name'
        )
    if args.profile is not None and args.to is None and args.held is None:
        parser.error(
            'a profile that is there is exported --to DIR, compared on --held DIR, or both'
        )
    return args


if __name__ == '__main__':
    sys.exit(main())
