# SPDX-License-Identifier: Apache-2.0
"""A look at a whole data set before hours are spent on it: is it complete, is it the policy's?"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.errors import EpisodeError
from sqil_ros.policy.openvla.statistics import MINIMUM_RANGE, Spread
from sqil_ros.types import Array
from sqil_training.episodes import episode_digest, episode_folders, episode_name, read_episode

OUTSIDE = 0.05
"""Largest share of a dimension's actions that may lie outside those the policy learned from."""

NARROW = 0.1
"""Actions that spread less than this share of the learned ones, in every dimension, are in other
units or of another robot."""


@dataclass(frozen=True)
class Surveyed:
    """One episode of a data set.

    Attributes:
        name: see :func:`sqil_training.episodes.episode_name`.
        folder: where it lies.
        digest: fingerprint of its content.
        steps: its length, T.
        actions: (T, 7) labels.
    """

    name: str
    folder: Path
    digest: str
    steps: int
    actions: Array


def survey(roots: Sequence[Path], contract: Contract, limit: int | None = None) -> list[Surveyed]:
    """Read every episode under ``roots`` once, sorted by name.

    Args:
        roots: episode trees; one that is given twice counts once.
        contract: of the robot at hand.
        limit: only so many episodes, spread evenly over all.

    Raises:
        ContractMismatch: an episode is of another robot.
        EpisodeError: there is none, one is broken, or two have the same name.
    """
    folders = sorted(
        {folder.resolve() for root in roots for folder in episode_folders(root)},
        key=episode_name,
    )
    if not folders:
        raise EpisodeError(
            f'No episodes under {", ".join(map(str, roots))}; run sqil-collect first.'
        )
    for one, other in pairwise(folders):
        if episode_name(one) == episode_name(other):
            raise EpisodeError(
                f'{one} and {other} are two episodes of one name, so that scores could not tell '
                'them apart; rename the collection of one of them.'
            )
    if limit is not None and limit < len(folders):
        folders = [folders[i * len(folders) // limit] for i in range(limit)]
    with ThreadPoolExecutor(4) as pool:
        read = pool.map(lambda folder: _surveyed(folder, contract), folders)
        return list(tqdm(read, desc='reading', total=len(folders), unit='episode', disable=None))


def dataset_digest(episodes: Sequence[tuple[str, str]]) -> str:
    """One fingerprint (hex) of (name, digest) pairs, in any order."""
    lines = '\n'.join(f'{name} {digest}' for name, digest in sorted(episodes))
    return hashlib.sha256(lines.encode()).hexdigest()


def check_statistics(actions: Array, learned: Spread) -> None:
    """Refuse actions that the policy cannot have learned from: other units, another robot.

    The statistics of a part of the training data, or of data that were held out, are never equal
    to those of the whole, so what is asked is whether they could be of the same source.

    Args:
        actions: (n, 7) labels of the data set at hand.
        learned: the spread of the checkpoint's training actions.

    Raises:
        EpisodeError: they could not.
    """
    margin = MINIMUM_RANGE
    outside = (actions < learned.low - margin) | (actions > learned.high + margin)
    share = outside.mean(axis=0)
    if share.max() > OUTSIDE:
        worst = int(share.argmax())
        raise EpisodeError(
            f'{share[worst]:.0%} of the actions have dimension {worst} outside '
            f'{learned.low[worst]:.4g} to {learned.high[worst]:.4g}, the statistics of the '
            f'checkpoint; at most {OUTSIDE:.0%} may. Use the data that the checkpoint was trained '
            'on, or a checkpoint of these data.'
        )
    found = actions.std(axis=0)
    if np.all(found <= NARROW * learned.std):
        raise EpisodeError(
            f'The actions have deviations {np.round(found, 6).tolist()}, each below {NARROW:.0%} '
            f'of the statistics of the checkpoint, {np.round(learned.std, 6).tolist()}; the units '
            'differ. Convert the episodes, or use a checkpoint of these data.'
        )


def _surveyed(folder: Path, contract: Contract) -> Surveyed:
    episode = read_episode(folder)
    contract.require_hash(episode.contract, f'Episode {folder}')
    return Surveyed(
        episode_name(folder), folder, episode_digest(episode), len(episode), episode.actions
    )
