# SPDX-License-Identifier: Apache-2.0
"""Behaviour cloning of chunks: targets to the end of an episode, and a loss that goes down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sqil_training.behaviour_cloning import Settings, Trainer
from sqil_training.chunks import chunk_loss, chunks_from
from sqil_training.demonstrations import Demonstrations
from sqil_training.domains import DOMAINS
from sqil_training.episodes import (
    Episode,
    encode_picture,
    episode_folder,
    observation_at,
    write_episode,
)
from sqil_training.run_state import load_state, save_state
from sqil_training.warm_start import warm_start

from sqil_ros.contract import Contract
from sqil_ros.errors import TrainingError
from sqil_ros.policy.loader import load_policy

CONTRACT = Contract.load()
LENGTHS = (6, 9)
CHUNK = 4
TOY = DOMAINS['toy_sink']
POINTS = max(*TOY.sources, *TOY.targets) + 1


def episode(seed: int, length: int) -> Episode:
    """Each step's third number says which step of which episode it is."""
    rng = np.random.default_rng(seed)
    actions = 0.01 * rng.normal(size=(length, 7))
    actions[:, 2] = 0.1 * seed + 0.001 * np.arange(length)
    labels = 0.01 * rng.normal(size=(length, len(TOY.tasks), 7))
    labels[:, 0] = actions
    pictures = [rng.integers(0, 255, (128, 128, 3), np.uint8) for _ in range(2)]
    return Episode(
        task=TOY.tasks[0],
        instruction=TOY.instructions[0],
        contract=CONTRACT.hash,
        seed=seed,
        success=True,
        origin='expert',
        stamps_ns=np.arange(length) * 200_000_000,
        states=rng.normal(size=(length, 7)),
        commands=np.hstack([rng.normal(size=(length, 6)), np.ones((length, 1))]),
        actions=actions,
        executed=actions,
        pictures=tuple((encode_picture(picture),) * length for picture in pictures),
        privileged={
            'labels': labels.reshape(length, -1),
            'objects': rng.normal(size=(length, 3 * POINTS)),
            'keypoints': rng.random((length, 2 * (POINTS + 1) * 2)),
        },
    )


@pytest.fixture
def demonstrations(tmp_path: Path) -> Demonstrations:
    for seed, length in enumerate(LENGTHS):
        write_episode(episode_folder(tmp_path, TOY.tasks[0], 'c', seed), episode(seed, length))
    return Demonstrations([tmp_path], TOY)


def test_a_chunk_ends_with_its_episode() -> None:
    actions = np.arange(5.0)[:, None] * np.ones(7)
    last = np.array([2, 2, 2, 4, 4])
    found, known = chunks_from(actions, last, np.array([0, 1, 2, 3]), 3)
    assert found[:, :, 0].tolist() == [[0, 1, 2], [1, 2, 2], [2, 2, 2], [3, 4, 4]]
    assert known.tolist() == [
        [True, True, True],
        [True, True, False],
        [True, False, False],
        [True, True, False],
    ]


def test_what_nobody_demonstrated_has_no_loss() -> None:
    predicted, demonstrated = torch.zeros(1, 2, 7), torch.full((1, 2, 7), 0.5)
    demonstrated[0, 1] = 100.0
    known = torch.tensor([[True, False]])
    assert chunk_loss(predicted, demonstrated, known) == 0.5
    assert chunk_loss(predicted, demonstrated, ~known) == 100.0


def test_every_step_of_an_episode_starts_a_chunk(demonstrations: Demonstrations) -> None:
    rng = np.random.default_rng(0)
    samples = demonstrations.draw(rng, 200, relabel=0.0, shift=0.0, chunk=CHUNK)
    np.testing.assert_array_equal(samples.chunks[:, 0], samples.actions)
    steps = np.round(samples.chunks[..., 2] % 0.1 / 0.001).astype(int)
    lengths = np.array(LENGTHS)[np.round(samples.chunks[:, 0, 2] / 0.1 - 0.05).astype(int)]
    assert {0, 5, 8} <= set(steps[:, 0]), 'the last steps of both episodes, too'
    expected = steps[:, :1] + np.arange(CHUNK)
    inside = expected < lengths[:, None]
    np.testing.assert_array_equal(samples.known, inside)
    np.testing.assert_array_equal(steps[inside], expected[inside])


def test_of_another_task_only_the_first_action_is_known(demonstrations: Demonstrations) -> None:
    rng = np.random.default_rng(0)
    samples = demonstrations.draw(rng, 50, relabel=1.0, shift=0.0, chunk=CHUNK)
    other = samples.tasks != 0
    assert other.any() and not samples.known[other, 1:].any() and samples.known[:, 0].all()
    np.testing.assert_array_equal(samples.chunks[other, 0], samples.actions[other])
    assert samples.known[~other, 1].any()


def test_of_another_command_only_the_first_action_is_known(
    demonstrations: Demonstrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moved(*arguments):
        return arguments[2] + 1.0, np.full(7, 0.5)

    monkeypatch.setattr('sqil_training.demonstrations.shifted', moved)
    rng = np.random.default_rng(0)
    samples = demonstrations.draw(rng, 50, relabel=0.0, shift=0.5, chunk=CHUNK)
    other = (samples.actions == 0.5).all(axis=1)
    assert 0 < other.sum() < 50
    assert not samples.known[other, 1:].any() and samples.known[~other, 1].any()
    assert (samples.chunks[other, 0] == 0.5).all()


def test_a_few_updates_reduce_the_loss_and_the_policy_answers_with_chunks(
    demonstrations: Demonstrations, tmp_path: Path
) -> None:
    settings = Settings(batch=6, chunk=CHUNK, warm_up=1, learning_rate=3e-3, jitter=0.0)
    trainer = Trainer(settings, demonstrations)
    rng = np.random.default_rng(0)
    samples = demonstrations.draw(rng, 6, relabel=0.0, shift=0.0, chunk=CHUNK)
    losses = [trainer.train_step(samples)['action'] for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0], losses
    trainer.export(tmp_path / 'checkpoint')
    policy = load_policy(tmp_path / 'checkpoint', 'fp', CONTRACT)
    assert policy.describe().name == 'openvla-oft-tiny'
    assert policy.act(observation_at(episode(0, 6), 0)).actions.shape == (CHUNK, 7)


@pytest.mark.parametrize('chunk', [0, CHUNK])
def test_products_in_bfloat16_train_nearly_as_in_float32(
    demonstrations: Demonstrations, chunk: int
) -> None:
    samples = demonstrations.draw(np.random.default_rng(0), 4, 0.0, 0.0, chunk=max(1, chunk))
    losses = {}
    for precision in ('float32', 'bfloat16'):
        settings = Settings(batch=4, chunk=chunk, jitter=0.0, precision=precision)
        trainer = Trainer(settings, demonstrations)
        losses[precision] = [trainer.train_step(samples)['loss'] for _ in range(3)]
        assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert losses['bfloat16'] != losses['float32']
    assert losses['bfloat16'] == pytest.approx(losses['float32'], rel=0.02)


def test_a_run_goes_on_with_its_own_head_only(
    demonstrations: Demonstrations, tmp_path: Path
) -> None:
    save_state(tmp_path, Trainer(Settings(chunk=CHUNK), demonstrations))
    load_state(tmp_path, Trainer(Settings(chunk=CHUNK), demonstrations))
    for chunk in (0, CHUNK + 1):
        with pytest.raises(TrainingError, match=f'begun with --chunk {CHUNK}, not {chunk}'):
            load_state(tmp_path, Trainer(Settings(chunk=chunk), demonstrations))


def test_a_warm_start_answers_as_the_policy_that_it_begins_with(
    demonstrations: Demonstrations, tmp_path: Path
) -> None:
    first = Trainer(Settings(seed=1), demonstrations)
    first.export(tmp_path / 'first')
    second = Trainer(Settings(seed=2), demonstrations)
    warm_start(second, tmp_path / 'first')
    assert second.step == 0 and not second.optimizers[0].state
    second.export(tmp_path / 'second')
    seen = observation_at(episode(0, 6), 0)
    wanted, found = (
        load_policy(tmp_path / name, 'fp', CONTRACT).act(seen).actions
        for name in ('first', 'second')
    )
    np.testing.assert_array_equal(wanted, found)


def test_a_warm_start_from_another_head_is_refused(
    demonstrations: Demonstrations, tmp_path: Path
) -> None:
    Trainer(Settings(chunk=CHUNK), demonstrations).export(tmp_path)
    trainer = Trainer(Settings(), demonstrations)
    with pytest.raises(TrainingError, match=r'another network.*same --chunk'):
        warm_start(trainer, tmp_path)
