# SPDX-License-Identifier: Apache-2.0
"""Maps of several profiles are compared on the same frames."""

from __future__ import annotations

import numpy as np
import pytest
from sqil_training.compare_maps import agreement, side_by_side

MAPS = np.random.default_rng(0).random((6, 2, 4, 4))


def test_a_map_agrees_with_itself_and_with_its_double():
    assert agreement(MAPS, MAPS)['rank_correlation'] == pytest.approx(1.0)
    doubled = agreement(2.0 * MAPS, MAPS)
    assert doubled['rank_correlation'] == pytest.approx(1.0)
    assert doubled['strength'] == pytest.approx(2.0)


def test_an_opposite_map_disagrees_and_an_unrelated_one_does_neither():
    assert agreement(1.0 - MAPS, MAPS)['rank_correlation'] == pytest.approx(-1.0)
    other = agreement(np.random.default_rng(1).random(MAPS.shape), MAPS)
    low, high = other['interval']
    assert low < other['rank_correlation'] < high
    assert abs(other['rank_correlation']) < 0.4


def test_the_sheet_has_a_tile_for_every_profile_and_frame():
    images = [np.zeros((128, 128, 3), np.uint8), np.full((128, 128, 3), 200, np.uint8)]
    dark, lit = np.zeros((2, 4, 4)), np.ones((2, 4, 4))
    sheet = side_by_side(images, {'fp': dark, 'int3': lit})
    height, width, _ = sheet.shape
    assert width // 3 > 200 and height // 2 > 200
    first = sheet[40:240, 240:440]
    assert first.max() == 0, 'where nothing is salient, the picture is untouched'
    assert sheet[40:240, 470:670].max() > 0
