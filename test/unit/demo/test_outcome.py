# SPDX-License-Identifier: Apache-2.0
import json

import cv2
import numpy as np
import pytest

from sqil_ros.demo.film import FRAMES, strip
from sqil_ros.demo.outcome import Outcome, Tally, median_steps, percentiles, result
from sqil_ros.demo.table import table

OUTCOMES = [
    Outcome('cup_plate', 10000, True, 40, 8.1, (30.0, 50.0)),
    Outcome('lift_eggplant', 10000, False, 90, 18.4, (40.0,)),
    Outcome('cup_plate', 10001, False, 3, 0.6, fault='emergency_stop: pressed'),
]


def test_result_has_the_promised_fields_and_counts():
    content = json.loads(json.dumps(result(OUTCOMES, 'int4_rtn', 133, 2)))
    assert content['profile'] == 'int4_rtn'
    assert (content['ticks'], content['missed_ticks']) == (133, 2)
    assert content['latency_ms']['p50'] == 40.0
    assert [(e['task'], e['seed'], e['success'], e['steps']) for e in content['episodes']] == [
        (o.task, o.seed, o.success, o.steps) for o in OUTCOMES
    ]
    assert content['tasks']['cup_plate']['successes'] == 1
    assert content['tasks']['cup_plate']['episodes'] == 2
    low, high = content['interval']
    assert content['success'] == pytest.approx(1 / 3)
    assert low < 1 / 3 < high


def test_no_action_is_no_latency_rather_than_zero():
    assert percentiles([]) == {'p50': None, 'p95': None, 'p99': None}
    assert percentiles([20.0])['p99'] == 20.0


def test_steps_are_those_of_successes():
    assert median_steps(OUTCOMES) == 40
    assert median_steps(OUTCOMES[1:]) is None


def test_table_names_every_task_and_the_sum_and_is_aligned():
    lines = table(OUTCOMES).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert 'put the cup into the plate' in lines[2] and '1/2' in lines[2]
    assert lines[-1].startswith('all') and '1/3' in lines[-1]
    assert Tally.of(OUTCOMES) == Tally(1, 3)


@pytest.mark.parametrize('count', [1, 5, 40])
def test_strip_shows_first_and_last_picture_whatever_the_length(count):
    frames = [np.full((32, 32, 3), 255 * i // count, np.uint8) for i in range(count)]
    frames[0][..., 0] = 255  # red, to see that channels keep their order
    picture = cv2.imdecode(np.frombuffer(strip(frames), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert picture.shape[0] == 32
    assert picture.shape[1] == pytest.approx(FRAMES * 32, abs=2 * FRAMES)
    np.testing.assert_allclose(picture[16, 16], frames[0][16, 16], atol=12)
    np.testing.assert_allclose(picture[16, -16], frames[-1][16, -16], atol=12)
