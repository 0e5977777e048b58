# SPDX-License-Identifier: Apache-2.0
"""Saliency of pictures against policies whose answer is known (SQIL, equations 4 and 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sqil_ros.errors import ParameterError
from sqil_ros.saliency import PictureSaliency, SaliencySettings, picture_saliency, state_rng
from sqil_ros.saliency.discrepancy import divergence, half_squared_norm, mean_square
from sqil_ros.saliency.grid import grid_masks
from sqil_ros.saliency.perturbation import NOISE_STD, PERTURBATIONS

PAPER = SaliencySettings()


@dataclass
class Reader:
    """A policy whose logits are the mean of the pixels it reads, times ``gain``."""

    pictures: Tensor
    reads: Tensor
    gain: float = 1.0
    answered: int = 0
    encoded: int = 0

    def encode(self, pictures: Tensor) -> Tensor:
        self.encoded += len(pictures)
        return pictures.flatten(1)

    def answer(self, features: Tensor) -> Tensor:
        self.answered += len(features)
        read = (features * self.reads.flatten(1)).sum(dim=(-2, -1)) / self.reads.sum().clamp(min=1)
        return self.gain * torch.stack([read, -read], dim=-1)[:, None]


def pictures(cameras: int, size: int = 32) -> Tensor:
    return torch.randn(cameras, 3, size, size, generator=torch.Generator().manual_seed(0))


def asked(state: Reader, wanted: SaliencySettings = PAPER, batch: int = 20) -> PictureSaliency:
    return picture_saliency(state, wanted, state_rng(0, 'episode', 3), batch)


# ---- grid ----------------------------------------------------------------------------------


@given(st.integers(1, 12), st.integers(12, 40), st.integers(12, 40))
def test_the_masks_share_out_every_pixel_once(side: int, height: int, width: int) -> None:
    masks = grid_masks(side, height, width)
    assert masks.shape == (side * side, height, width)
    assert torch.all(masks.sum(dim=0) == 1)
    extents = masks.any(dim=2).sum(dim=1), masks.any(dim=1).sum(dim=1)
    for extent, whole in zip(extents, (height, width), strict=True):
        assert extent.min() >= whole // side and extent.max() <= -(-whole // side)


def test_the_papers_cells_are_28_pixels() -> None:
    masks = grid_masks(8, 224, 224)
    assert torch.all(masks.sum(dim=(1, 2)) == 28 * 28)
    assert masks[9, 28:56, 28:56].all()


@pytest.mark.parametrize('side', [0, 33])
def test_a_grid_without_pixels_is_refused(side: int) -> None:
    with pytest.raises(ParameterError, match='does not fit'):
        grid_masks(side, 32, 40)


# ---- perturbations -------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['gaussian', 'laplacian', 'uniform'])
def test_every_noise_has_the_same_deviation(name: str) -> None:
    still = torch.zeros(2, 3, 64, 64)
    noise = PERTURBATIONS[name](still, 8, state_rng(0, 'e', 0))
    assert float(noise.std()) == pytest.approx(NOISE_STD, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.02)


def test_noise_depends_on_seed_episode_and_step_only() -> None:
    draws = [state_rng(*key).normal() for key in [(0, 'a', 1), (0, 'a', 1)]]
    assert draws[0] == draws[1]
    others = [state_rng(*key).normal() for key in [(1, 'a', 1), (0, 'b', 1), (0, 'a', 2)]]
    assert len({draws[0], *others}) == 4


@pytest.mark.parametrize('name', ['blur', 'channel_mean'])
def test_a_plain_picture_has_nothing_to_blur(name: str) -> None:
    plain = torch.full((1, 3, 32, 32), 0.7)
    replaced = PERTURBATIONS[name](plain, 8, state_rng(0, 'e', 0))
    torch.testing.assert_close(replaced, plain)


@pytest.mark.parametrize('side', [1, 3, 8, 32])
def test_any_grid_can_be_blurred(side: int) -> None:
    picture = pictures(1)
    replaced = PERTURBATIONS['blur'](picture, side, state_rng(0, 'e', 0))
    assert replaced.shape == picture.shape
    assert replaced.std() < picture.std()


def test_the_channel_mean_is_one_number_a_channel() -> None:
    picture = pictures(2)
    replaced = PERTURBATIONS['channel_mean'](picture, 8, state_rng(0, 'e', 0))
    torch.testing.assert_close(replaced[1, 2, 5, 5], picture[1, 2].mean())


# ---- discrepancies -------------------------------------------------------------------------

_logits = st.integers(0, 10_000).map(
    lambda seed: torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed))
)


@given(_logits)
def test_distances_are_never_negative_and_zero_for_the_same(logits: Tensor) -> None:
    for distance in (half_squared_norm, mean_square, divergence):
        same, other = distance(logits[0], logits)
        assert same == 0.0
        assert other > 0.0


def test_distances_against_numbers_by_hand() -> None:
    reference, other = torch.tensor([[0.0, 2.0]]), torch.tensor([[[1.0, 4.0]]])
    assert half_squared_norm(reference, other).tolist() == [2.5]
    assert mean_square(reference, other).tolist() == [2.5]
    p, q = np.exp([0.0, 2.0]), np.exp([1.0, 4.0])
    p, q = p / p.sum(), q / q.sum()
    assert float(divergence(reference, other)) == pytest.approx(float((p * np.log(p / q)).sum()))


# ---- the score -----------------------------------------------------------------------------


@pytest.mark.parametrize('perturbation', list(PERTURBATIONS))
@pytest.mark.parametrize('discrepancy', ['l2', 'text_l2', 'kl'])
def test_a_policy_that_looks_nowhere_scores_zero(perturbation: str, discrepancy: str) -> None:
    state = Reader(pictures(2), torch.zeros(2, 3, 32, 32))
    wanted = replace(PAPER, perturbation=perturbation, discrepancy=discrepancy)
    assert asked(state, wanted).score == 0.0


def test_only_the_cell_that_is_read_counts() -> None:
    reads = torch.zeros(1, 3, 32, 32)
    reads[:, :, 8:12, 20:24] = 1.0
    found = asked(Reader(pictures(1), reads), replace(PAPER, perturbation='channel_mean'))
    local = found.maps[0]
    assert np.flatnonzero(local).tolist() == [2 * 8 + 5]
    assert found.score == pytest.approx(local[2, 5] / 64)


def test_the_score_is_equation_4_in_numbers() -> None:
    """Filling the read cell with the mean moves both logits by the difference of two means."""
    picture = pictures(1)
    reads = torch.zeros(1, 3, 32, 32)
    reads[:, 1, :4, :4] = 1.0
    shift = 3.0 * float(picture[0, 1].mean() - picture[0, 1, :4, :4].mean())
    found = asked(Reader(picture, reads, gain=3.0), replace(PAPER, perturbation='channel_mean'))
    assert found.maps[0, 0, 0] == pytest.approx(0.5 * 2.0 * shift**2, rel=1e-4)


def test_each_camera_has_its_own_map() -> None:
    reads = torch.zeros(2, 3, 32, 32)
    reads[1, :, :4, :4] = 1.0
    state = Reader(pictures(2), reads)
    apart = asked(state, replace(PAPER, cameras='each'))
    assert apart.maps.shape == (2, 8, 8)
    assert not apart.maps[0].any()
    assert np.flatnonzero(apart.maps[1]).tolist() == [0]
    together = asked(state)
    np.testing.assert_allclose(together.maps[0], apart.maps[1], rtol=1e-6)


@pytest.mark.parametrize('cameras, mode, passes, encoded', [
    (1, 'together', 65, 65),
    (2, 'together', 65, 130),
    (2, 'each', 129, 130),
])  # fmt: skip
def test_passes_are_counted(cameras: int, mode: str, passes: int, encoded: int) -> None:
    state = Reader(pictures(cameras), torch.ones(cameras, 3, 32, 32))
    asked(state, replace(PAPER, cameras=mode))
    assert (state.answered, state.encoded) == (passes, encoded)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 70))
def test_the_size_of_a_batch_changes_nothing(batch: int) -> None:
    state = Reader(pictures(2), torch.ones(2, 3, 32, 32))
    np.testing.assert_allclose(asked(state, batch=batch).maps, asked(state).maps, rtol=1e-5)


def test_a_coarse_grid_is_cheap_enough_for_a_live_topic() -> None:
    state = Reader(pictures(2), torch.ones(2, 3, 32, 32))
    found = asked(state, SaliencySettings(side=4, cameras='each'))
    assert found.maps.shape == (2, 4, 4) and state.answered == 33


@pytest.mark.parametrize('field, value', [
    ('side', 0), ('stride', 0), ('seed', -1), ('discrepancy', 'l1'), ('perturbation', 'red'),
    ('cameras', 'one'), ('inputs', 'words'),
])  # fmt: skip
def test_unknown_settings_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ParameterError, match=field):
        replace(PAPER, **{field: value})
