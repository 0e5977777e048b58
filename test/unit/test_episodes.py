# SPDX-License-Identifier: Apache-2.0
"""Episodes on disk: what is written is read, what is broken is refused by name."""

import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqil_training.collect import main as collect
from sqil_training.collect import plan
from sqil_training.episodes import (
    Episode,
    decode_picture,
    encode_picture,
    episode_folder,
    episode_folders,
    read_episode,
    write_episode,
)

from sqil_ros.errors import EpisodeError


def _picture(seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((16, 16, 1), dtype=np.uint8))


@pytest.fixture
def episode():
    rng = np.random.default_rng(0)
    pictures = tuple(
        tuple(encode_picture(_picture(3 * t + c)) for t in range(4)) for c in range(2)
    )
    return Episode(
        task='lift_eggplant',
        instruction='lift the eggplant',
        contract='0123456789abcdef',
        seed=5,
        success=True,
        origin='expert',
        stamps_ns=np.arange(4) * 200_000_000,
        states=rng.normal(size=(4, 7)),
        commands=rng.normal(size=(4, 7)),
        actions=rng.normal(size=(4, 7)),
        executed=rng.normal(size=(4, 7)),
        pictures=pictures,
        privileged={'objects': rng.normal(size=(4, 15))},
    )


def test_an_episode_survives_the_disk(tmp_path, episode):
    folder = episode_folder(tmp_path, episode.task, 'c', 5)
    write_episode(folder, episode)
    assert list(episode_folders(tmp_path)) == [folder]
    back = read_episode(folder)
    for field in dataclasses.fields(Episode):
        wanted, found = getattr(episode, field.name), getattr(back, field.name)
        if isinstance(wanted, np.ndarray):
            np.testing.assert_array_equal(found, wanted)
        elif field.name == 'privileged':
            np.testing.assert_array_equal(found['objects'], wanted['objects'])
        else:
            assert found == wanted


def test_the_tree_has_bridges_names(tmp_path, episode):
    folder = episode_folder(tmp_path, episode.task, 'c', 1234)
    write_episode(folder, episode)
    assert folder.relative_to(tmp_path).as_posix() == 'lift_eggplant/c/raw/traj_group1/traj1234'
    assert (folder / 'images1' / 'im_3.jpg').is_file()
    assert (folder / 'lang.txt').read_text() == 'lift the eggplant\n'
    assert pq.read_table(folder / 'steps.parquet').num_rows == 4


def test_pictures_lose_little():
    image = _picture(9)
    assert np.abs(decode_picture(encode_picture(image)).astype(int) - image).mean() < 2.0


@pytest.mark.parametrize('broken', ['episode.json', 'lang.txt', 'images1/im_2.jpg'])
def test_a_missing_file_is_named(tmp_path, episode, broken):
    folder = episode_folder(tmp_path, episode.task, 'c', 5)
    write_episode(folder, episode)
    (folder / broken).unlink()
    with pytest.raises(EpisodeError, match=broken.rsplit('/', maxsplit=1)[-1]):
        read_episode(folder)


def test_an_empty_instruction_is_refused(tmp_path, episode):
    folder = episode_folder(tmp_path, episode.task, 'c', 5)
    write_episode(folder, episode)
    (folder / 'lang.txt').write_text('\n')
    with pytest.raises(EpisodeError, match='instruction'):
        read_episode(folder)


def test_nothing_is_overwritten(tmp_path, episode):
    folder = episode_folder(tmp_path, episode.task, 'c', 5)
    write_episode(folder, episode)
    with pytest.raises(EpisodeError, match='already'):
        write_episode(folder, episode)


def test_training_never_touches_evaluation_seeds(tmp_path):
    jobs = plan(tmp_path, 'c', ['lift_eggplant', 'cup_plate'], 3, 100)
    assert sorted(job.seed for job in jobs) == [101, 103, 105, 107, 109, 111]
    with pytest.raises(SystemExit):
        collect(['--out', str(tmp_path), '--episodes', '2501'])


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    out = tmp_path / 'episodes'
    assert collect(['--out', str(out), '--episodes', '3', '--dry-run']) == 0
    assert '12 episodes' in capsys.readouterr().out
    assert not out.exists()
