# SPDX-License-Identifier: Apache-2.0
"""A data set is looked at as a whole before it is scored."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqil_training.episodes import (
    episode_digest,
    episode_folder,
    observation_at,
    read_episode,
    write_episode,
)
from sqil_training.survey import check_statistics, dataset_digest, survey

from sqil_ros.contract import Contract
from sqil_ros.errors import ContractMismatch, EpisodeError
from sqil_ros.policy.openvla.statistics import Spread

CONTRACT = Contract.load()
RNG = np.random.default_rng(0)
ACTIONS = RNG.normal(size=(400, 7)) * np.array([0.02, 0.02, 0.02, 0.0001, 0.0001, 0.05, 0.5])
LEARNED = Spread(ACTIONS.min(axis=0), ACTIONS.max(axis=0), ACTIONS.std(axis=0))


def test_every_episode_is_found_once(data: Path) -> None:
    found = survey([data, data / '..' / data.name], CONTRACT)
    assert [row.name for row in found] == [
        f'lift_eggplant/c/raw/traj_group0/traj{i}' for i in range(4)
    ]
    assert [row.steps for row in found] == [8, 10, 12, 14]
    assert len({row.digest for row in found}) == 4


def test_a_few_episodes_are_spread_over_all(data: Path) -> None:
    found = survey([data], CONTRACT, limit=2)
    assert [row.name[-1] for row in found] == ['0', '2']
    assert len(survey([data], CONTRACT, limit=9)) == 4


def test_names_do_not_depend_on_where_the_tree_lies(data: Path, tmp_path: Path) -> None:
    before = survey([data], CONTRACT)
    moved = shutil.move(data, tmp_path / 'elsewhere')
    after = survey([Path(moved)], CONTRACT)
    pairs = [[(row.name, row.digest) for row in rows] for rows in (before, after)]
    assert pairs[0] == pairs[1]
    assert dataset_digest(pairs[0]) == dataset_digest(pairs[1][::-1])


@pytest.mark.parametrize('field', ['states', 'commands', 'actions', 'instruction', 'pictures'])
def test_every_input_of_the_policy_is_in_the_digest(data: Path, field: str) -> None:
    episode = read_episode(episode_folder(data, 'lift_eggplant', 'c', 0))
    value = getattr(episode, field)
    if field == 'instruction':
        other = replace(episode, instruction='lift the cup')
    elif field == 'pictures':
        other = replace(episode, pictures=(value[1], value[0]))
    else:
        other = replace(episode, **{field: value + 1e-9})
    assert episode_digest(other) != episode_digest(episode)


def test_an_observation_is_what_was_recorded(data: Path) -> None:
    episode = read_episode(episode_folder(data, 'lift_eggplant', 'c', 0))
    seen = observation_at(episode, 5)
    assert seen.images[1].shape == (32, 32, 3) and seen.instruction == 'lift the eggplant'
    assert seen.stamp_ns == 1_000_000_000
    np.testing.assert_array_equal(seen.command, episode.commands[5])


def test_nothing_to_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match='No episodes'):
        survey([tmp_path], CONTRACT)


def test_a_missing_picture_is_found_before_anything_is_scored(data: Path) -> None:
    next(data.rglob('images1/im_3.jpg')).unlink()
    with pytest.raises(EpisodeError, match=r'lacks im_3\.jpg'):
        survey([data], CONTRACT)


def test_episodes_of_one_name_are_refused(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / 'copy')
    with pytest.raises(EpisodeError, match='two episodes of one name'):
        survey([data, tmp_path / 'copy'], CONTRACT)


def test_another_robots_episode_is_refused(data: Path) -> None:
    episode = read_episode(episode_folder(data, 'lift_eggplant', 'c', 0))
    other = replace(episode, contract='f' * 16)
    write_episode(episode_folder(data, 'lift_eggplant', 'c', 9), other)
    with pytest.raises(ContractMismatch, match='traj9'):
        survey([data], CONTRACT)


def test_a_part_of_the_learned_actions_passes() -> None:
    check_statistics(ACTIONS[:30], LEARNED)


@pytest.mark.parametrize('scale, complaint', [(1000.0, 'outside'), (0.01, 'units differ')])
def test_actions_in_other_units_are_refused(scale: float, complaint: str) -> None:
    with pytest.raises(EpisodeError, match=complaint):
        check_statistics(scale * ACTIONS, LEARNED)
