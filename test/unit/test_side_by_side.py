# SPDX-License-Identifier: Apache-2.0
"""Profiles on the same held-out frames: actions and time of a step."""

from __future__ import annotations

import pytest
from sqil_training.quantize import main as quantize
from sqil_training.score import main as score
from sqil_training.side_by_side import side_by_side

PROFILES = ['fp', 'int8_rtn', 'int2_rtn']


@pytest.fixture
def quantized(checkpoint):
    for bits in ('8', '2'):
        assert quantize(['--checkpoint', str(checkpoint), '--bits', bits]) == 0
    return checkpoint


@pytest.fixture
def scores(quantized, data, tmp_path):
    path = tmp_path / 'held.parquet'
    words = ['--data', data, '--checkpoint', quantized, '--out', path, '--workers', 1, '--grid', 2]
    assert score([str(word) for word in words]) == 0
    return path


def test_rougher_rounding_is_farther_from_full_precision(quantized, data, scores):
    found = side_by_side(quantized, PROFILES, data, scores, rounds=3, threads=1)
    assert list(found) == PROFILES
    loops = [found[name]['open_loop'] for name in PROFILES]
    assert [loop['frames'] for loop in loops] == [44] * 3
    errors = [loop['to_full']['action_error'] for loop in loops]
    assert errors[0] == 0.0 < errors[1] < errors[2]
    assert loops[0]['to_full']['gripper_agreement'] == 1.0
    assert loops[0]['to_demonstration']['action_error'] > 0.0
    weighted = loops[2]['to_full_weighted']['action_error']
    assert weighted > 0.0 and weighted != pytest.approx(errors[2], rel=1e-6)
    latency = [found[name]['latency'] for name in PROFILES]
    assert latency[0]['ratio_full'] == 1.0
    assert all(0.0 < row['p50_ms'] <= row['p99_ms'] and row['rounds'] == 3 for row in latency)


def test_without_scores_nothing_is_weighted(quantized, data):
    found = side_by_side(quantized, ['int8_rtn'], data, None, rounds=1, threads=1)
    assert list(found) == ['int8_rtn'], 'full precision only where it is asked for'
    assert found['int8_rtn']['open_loop']['to_full_weighted'] is None
