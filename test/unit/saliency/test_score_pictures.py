# SPDX-License-Identifier: Apache-2.0
"""Heat maps, the curve along an episode, the histogram, and the page of them all."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from sqil_training.score import PAGE, main
from sqil_training.score_charts import score_curve, score_histogram
from sqil_training.score_pictures import gripper_events, spread

from sqil_ros.saliency.heat_map import heat_map

SIZE = 224

SVG = '{http://www.w3.org/2000/svg}'


def elements(svg: str, tag: str) -> list[ET.Element]:
    root = ET.fromstring(svg.replace('<svg ', '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    return list(root.iter(f'{SVG}{tag}'))


def test_a_picture_without_saliency_stays_as_it_is() -> None:
    image = np.full((32, 32, 3), 90, np.uint8)
    drawn = heat_map(image, np.zeros((8, 8)), 0.0, SIZE)
    assert drawn.shape == (SIZE, SIZE, 3)
    assert np.all(drawn == 90)


def test_the_cell_that_matters_glows() -> None:
    saliency = np.zeros((8, 8))
    saliency[2, 5] = 3.0
    drawn = heat_map(np.zeros((32, 32, 3), np.uint8), saliency, 3.0, SIZE).sum(axis=2)
    row, column = np.unravel_index(drawn.argmax(), drawn.shape)
    assert (row * 8 // SIZE, column * 8 // SIZE) == (2, 5)
    assert drawn[: SIZE // 8].max() == 0


def test_gripper_events_are_the_crossings() -> None:
    assert gripper_events(np.array([1.0, 1.0, 0.0, 0.0, 0.4, 1.0])) == {2: 'closes', 5: 'opens'}
    assert gripper_events(np.ones(5)) == {}


def test_the_curve_marks_events_and_heavy_frames() -> None:
    scores = np.array([1.0, 1.0, 5.0, 5.0, 0.5])
    svg = score_curve(scores, 2.0, {3: 'closes'}, [0, 2])
    assert len(elements(svg, 'rect')) == 2
    assert len(elements(svg, 'circle')) == 2
    assert 'closes' in [text.text for text in elements(svg, 'text')]


@pytest.mark.parametrize('scores', [
    np.geomspace(0.01, 100.0, 200), np.array([0.0, 1.0]), np.zeros(3),
])  # fmt: skip
def test_the_histogram_counts_every_frame(scores: np.ndarray) -> None:
    svg = score_histogram(scores, float(np.quantile(scores, 0.8)))
    titles = {title.text or '' for title in elements(svg, 'title')}
    assert sum(int(words.split()[-2]) for words in titles) == len(scores)


def test_spread_takes_no_episode_twice() -> None:
    assert spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert spread(list(range(2)), 4) == [0, 1]


def test_the_page_shows_every_camera(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    words = ['--data', data, '--checkpoint', checkpoint, '--out', tmp_path / 's', '--grid', '2']
    more = ['--workers', '1', '--pictures', tmp_path / 'pictures']
    assert main([str(word) for word in (*words, *more)]) == 0
    page = (tmp_path / 'pictures' / PAGE).read_text()
    assert page.count('<figure') == 4
    assert page.count('<img') == 2 * (2 + 2 + 3 + 3)
    assert 'lift the eggplant' in page and 'threshold' in page
