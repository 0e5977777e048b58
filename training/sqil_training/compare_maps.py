# SPDX-License-Identifier: Apache-2.0
"""Where do quantised policies look, against full precision, on the same frames (SQIL, figure 9)?

examples:
  python -m sqil_training.compare_maps --data data/held --picture out/maps.jpg
  python -m sqil_training.compare_maps --profiles fp,int3_rtn,int3_sqil --data data/held
      --frames 24 --picture docs/results/saliency_maps.jpg --json docs/results/saliency_maps.json

The first profile is what the others are compared with. The picture has a row for every shown
frame: what the camera sees, then the map of every profile, each on its own scale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.errors import ParameterError, SqilError
from sqil_ros.policy.loader import load_policy
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.teacher import OpenVLATeacher
from sqil_ros.provenance import provenance
from sqil_ros.saliency import SaliencySettings, picture_saliency, state_rng
from sqil_ros.saliency.discrepancy import DISCREPANCIES
from sqil_ros.saliency.grid import EACH
from sqil_ros.saliency.heat_map import heat_map
from sqil_ros.share import share_directory
from sqil_ros.types import Array, Image
from sqil_training.compare_scores import rank_correlation
from sqil_training.episodes import encode_picture, observation_at, read_episode
from sqil_training.survey import survey
from sqil_training.whole_file import whole_file

_SIDE, _GAP, _HEAD = 224, 6, 30


def saliency_maps(
    teacher: OpenVLATeacher, chosen: Sequence[tuple[Path, str, int]], settings: SaliencySettings
) -> Array:
    """(F, C, N, N) maps of the given (folder, name, step) frames."""
    found = []
    for folder, name, step in chosen:
        episode = read_episode(folder)
        state = teacher.state(observation_at(episode, step), episode.actions[step])
        rng = state_rng(settings.seed, name, step)
        found.append(picture_saliency(state, settings, rng).maps)
    return np.array(found)


def agreement(maps: Array, reference: Array) -> dict[str, Any]:
    """How alike two (F, C, N, N) stacks of maps are.

    Returns:
        ``rank_correlation``: of the cells of a frame, mean over frames; ``interval``: 95 %,
        bootstrap over frames; ``strength``: sum of all saliency, as a share of the reference's.
    """
    pairs = zip(maps, reference, strict=True)
    each = np.array([rank_correlation(a.ravel(), b.ravel()) for a, b in pairs])
    drawn = np.random.default_rng(0).integers(len(each), size=(2000, len(each)))
    return {
        'rank_correlation': float(each.mean()),
        'interval': np.quantile(each[drawn].mean(axis=1), [0.025, 0.975]).tolist(),
        'strength': float(maps.sum() / reference.sum()),
    }


def side_by_side(images: Sequence[Image], maps: Mapping[str, Array]) -> Image:
    """A sheet of the third-person camera: frames down, what it sees and every profile across.

    Args:
        images: (H, W, 3) uint8 RGB pictures of F frames.
        maps: (F, N, N) maps by profile.
    """
    step = _SIDE + _GAP
    sheet = np.full((_HEAD + step * len(images), step * (1 + len(maps)), 3), 255, np.uint8)
    for column, title in enumerate(['camera', *maps]):
        where = (4 + column * step, 21)
        cv2.putText(sheet, title, where, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (60,) * 3, 1, cv2.LINE_AA)
    for row, image in enumerate(images):
        size = (_SIDE, _SIDE)
        tiles = [cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)]
        tiles += [heat_map(image, own[row], float(own[row].max()), _SIDE) for own in maps.values()]
        for column, tile in enumerate(tiles):
            top, left = _HEAD + row * step, column * step
            sheet[top : top + _SIDE, left : left + _SIDE] = tile
    return sheet


def _choose(data: Sequence[Path], contract: Contract, count: int) -> list[tuple[Path, str, int]]:
    """Frames of different episodes, spread over the data and over the course of an episode."""
    episodes = survey(data, contract, count)
    if len(episodes) < count:
        raise ParameterError(f'There are {len(episodes)} episodes; lower --frames {count}.')
    golden = 0.618  # shares of an episode that never fall into step with anything
    return [
        (found.folder, found.name, int((golden * i) % 1.0 * found.steps))
        for i, found in enumerate(episodes)
    ]


def _run(args: argparse.Namespace) -> None:
    contract = Contract.load()
    chosen = _choose(args.data, contract, args.frames)
    settings = SaliencySettings(side=args.grid, cameras=EACH)
    names = args.profiles.split(',')
    maps: dict[str, Array] = {}
    for name in tqdm(names, unit='profile', disable=None):
        policy = load_policy(args.checkpoint, name, contract, engine='torch')
        if not isinstance(policy, OpenVLAPolicy):
            raise SqilError(f'{args.checkpoint} answers without logits; name an OpenVLA.')
        teacher = OpenVLATeacher(policy, DISCREPANCIES[settings.discrepancy].scope)
        maps[name] = saliency_maps(teacher, chosen, settings)
    rows = {name: agreement(own, maps[names[0]]) for name, own in maps.items()}
    for name, row in rows.items():
        low, high = row['interval']
        print(
            f'{name:24s} rank correlation {row["rank_correlation"]:.3f} [{low:.3f}, {high:.3f}], '
            f'strength {row["strength"]:.2f}'
        )
    shown = [i * len(chosen) // args.shown for i in range(args.shown)]
    images = [observation_at(read_episode(chosen[i][0]), chosen[i][2]).images[0] for i in shown]
    sheet = side_by_side(images, {name: own[shown, 0] for name, own in maps.items()})
    with whole_file(args.picture) as file:
        file.write(encode_picture(sheet))
    if args.json:
        frames = [{'episode': name, 'step': step} for _, name, step in chosen]
        content = {'profiles': rows, 'frames': frames, 'provenance': provenance()}
        with whole_file(args.json) as file:
            file.write((json.dumps(content, indent=1) + '\n').encode())


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m sqil_training.compare_maps',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    checkpoint = share_directory() / 'models' / 'toy_sink_openvla'
    parser.add_argument('--checkpoint', type=Path, default=checkpoint)
    parser.add_argument('--profiles', default='fp,int4_rtn,int3_rtn', help='first: the reference')
    parser.add_argument('--data', type=Path, nargs='+', required=True, help='episode trees')
    parser.add_argument('--frames', type=int, default=12, help='frames compared')
    parser.add_argument('--shown', type=int, default=4, help='frames in the picture')
    parser.add_argument('--grid', type=int, default=8, help='cells along a side, N')
    parser.add_argument('--picture', type=Path, required=True, help='JPEG file')
    parser.add_argument('--json', type=Path, help='file of the figures')
    args = parser.parse_args(argv)
    if not 1 <= args.shown <= args.frames:
        parser.error(f'--shown {args.shown} must be between 1 and --frames {args.frames}')
    try:
        _run(args)
    except SqilError as error:
        print(f'compare_maps: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
