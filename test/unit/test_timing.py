# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.errors import ParameterError
from sqil_ros.timing import LatencyWindow, Spans


class FakeClock:
    """Advances by one millisecond a reading."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1_000_000
        return self.now


def test_spans_add_up_and_keep_their_order():
    spans = Spans(FakeClock())
    for name in ('vision', 'decode', 'decode'):
        with spans(name):
            pass
    assert spans.milliseconds == {'vision': 1.0, 'decode': 2.0}
    assert list(spans.milliseconds) == ['vision', 'decode']


def test_span_counts_when_its_block_raises():
    spans = Spans(FakeClock())
    with pytest.raises(RuntimeError), spans('vision'):
        raise RuntimeError
    assert spans.milliseconds == {'vision': 1.0}


@given(st.lists(st.floats(0.0, 1e4), min_size=1, max_size=60), st.integers(1, 30))
def test_summary_is_the_percentiles_of_the_last_values(values, capacity):
    window = LatencyWindow(capacity)
    for value in values:
        window.add({'total': value})
    kept = values[-capacity:]
    stage = window.summary()['total']
    assert stage.count == len(kept)
    assert stage.last == kept[-1]
    assert min(kept) <= stage.p50 <= stage.p95 <= stage.p99 <= max(kept)
    assert stage.p50 == pytest.approx(np.median(kept))


def test_clear_forgets():
    window = LatencyWindow(3)
    window.add({'total': 1.0})
    window.clear()
    assert window.summary() == {}


def test_empty_window_is_refused():
    with pytest.raises(ParameterError, match='at least 1'):
        LatencyWindow(0)
