# SPDX-License-Identifier: Apache-2.0
"""The picture of control steps shows what was measured."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from sqil_ros.bench.timeline import parts_of, timeline

ENGINE = {'vision': 4.0, 'prefill': 2.0, 'token': 0.5, 'decode': 5.1, 'step': 9.2}
TORCH = {'vision': 20.0, 'decode': 30.0, 'step': 50.0}


def rows(**profiles):
    return [
        {'profile': name, 'stage': stage, 'ms_p50': ms}
        for name, stages in profiles.items()
        for stage, ms in stages.items()
    ]


@pytest.mark.parametrize('stages', [ENGINE, TORCH])
def test_the_parts_of_a_step_are_all_of_it(stages):
    assert sum(ms for _, ms in parts_of(stages)) == pytest.approx(stages['step'])


def test_bars_are_as_long_as_they_took():
    drawn = ElementTree.fromstring(timeline(rows(engine=ENGINE, torch=TORCH)))
    bars = [rect for rect in drawn.iter('{http://www.w3.org/2000/svg}rect') if len(rect)]
    titles = [bar[0].text for bar in bars]
    widths = [float(bar.get('width')) for bar in bars]
    assert titles[:3] == ['pictures: 4.00 ms', 'prompt: 2.00 ms', 'tokens: 3.00 ms']
    assert widths[1] / widths[0] == pytest.approx(0.5, abs=0.01)
    assert sum(widths[:4]) / sum(widths[4:]) == pytest.approx(9.2 / 50.0, rel=0.01)
