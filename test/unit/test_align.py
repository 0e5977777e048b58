# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.align import NS_PER_S, LiveAligner, Sample, TickClock, align, hold
from sqil_ros.errors import ParameterError

MS = 1_000_000


def clock(camera_hz=15.0, rate_hz=5.0):
    return TickClock.from_rates(rate_hz, camera_hz)


def stamps(count, hz, start=0):
    return [start + round(index * NS_PER_S / hz) for index in range(count)]


def ticks_of(image_stamps, tick_clock):
    return [stamp for stamp in image_stamps if tick_clock.offer(stamp)]


@st.composite
def jittered(draw, count, hz, jitter_ms):
    return sorted(
        stamp + draw(st.integers(-jitter_ms * MS, jitter_ms * MS))
        for stamp in stamps(count, hz, start=NS_PER_S)
    )


# -- hold -----------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 50)), st.integers(0, 50))
def test_hold_is_the_newest_not_younger(times, now):
    samples = [Sample(t, index) for index, t in enumerate(sorted(times))]
    expected = [sample for sample in samples if sample.stamp_ns <= now]
    assert hold(samples, now) == (expected[-1] if expected else None)


# -- ticks ----------------------------------------------------------------------------------


@pytest.mark.parametrize('camera_hz', [10.0, 15.0, 30.0, 60.0])
def test_camera_at_a_multiple_drives_exactly_the_rate(camera_hz):
    tick_clock = clock(camera_hz)
    found = ticks_of(stamps(int(camera_hz) * 10, camera_hz), tick_clock)
    assert len(found) == 50
    assert tick_clock.missed == 0


@given(jittered(150, 15.0, 15))
def test_jitter_below_half_a_camera_period_misses_nothing(image_stamps):
    tick_clock = clock()
    found = ticks_of(image_stamps, tick_clock)
    assert tick_clock.missed == 0
    assert abs(len(found) - 50) <= 1


@given(st.integers(1, 40))
def test_a_pause_of_n_periods_misses_n(count):
    tick_clock = clock()
    assert tick_clock.offer(0)
    assert tick_clock.offer((count + 1) * 200 * MS)
    assert tick_clock.missed == count
    assert tick_clock.ticks == 2


def test_one_lost_frame_just_before_the_tick_is_a_missed_tick():
    tick_clock = clock()
    times = stamps(7, 15.0)
    del times[3]
    ticks_of(times, tick_clock)
    assert tick_clock.missed == 1


def test_camera_slower_than_the_loop_is_missing_ticks():
    tick_clock = clock(camera_hz=2.5)
    found = ticks_of(stamps(11, 2.5), tick_clock)
    assert len(found) == 11
    assert tick_clock.missed == 10


def test_restart_makes_the_next_image_a_tick_and_counts_no_gap():
    tick_clock = clock()
    tick_clock.offer(0)
    tick_clock.restart()
    assert tick_clock.offer(10 * MS)
    tick_clock.restart()
    assert tick_clock.offer(100 * NS_PER_S)
    assert tick_clock.missed == 0


def test_time_that_goes_back_starts_over_but_disorder_does_not():
    tick_clock = clock()
    tick_clock.offer(100 * NS_PER_S)
    assert not tick_clock.offer(100 * NS_PER_S - 66 * MS)
    assert tick_clock.offer(3 * NS_PER_S)
    assert not tick_clock.offer(3 * NS_PER_S + 66 * MS)


@pytest.mark.parametrize('rates', [(0.0, 15.0), (5.0, -1.0), (5.0, float('nan'))])
def test_rates_must_be_positive(rates):
    with pytest.raises(ParameterError, match='above 0'):
        TickClock.from_rates(*rates)


# -- live equals offline --------------------------------------------------------------------


@st.composite
def recordings(draw):
    """Images and two channels with their own rates, jitters and starts."""
    images = draw(jittered(draw(st.integers(1, 40)), 15.0, 12))
    channels = {}
    for name in ('wrist', 'pose'):
        times = draw(st.lists(st.integers(0, 4 * NS_PER_S), max_size=60))
        channels[name] = sorted(times)
    return images, channels


@st.composite
def arrivals(draw):
    """A recording and an order of arrival that keeps each channel's own order."""
    images, channels = draw(recordings())
    rows = {'image': images} | channels
    events = []
    for name, times in rows.items():
        lag = 0
        for index, stamp in enumerate(times):
            lag = draw(st.integers(0, 150)) * MS
            events.append((stamp + lag, name, index))
    # A lag may not let a channel overtake itself: sort the arrival times per channel.
    ordered = []
    for name, times in rows.items():
        arrival = sorted(at for at, other, _ in events if other == name)
        ordered += [(at, name, index) for index, at in enumerate(arrival)]
        assert len(arrival) == len(times)
    return images, channels, sorted(ordered)


def as_samples(name, times):
    return [Sample(stamp, (name, index)) for index, stamp in enumerate(times)]


@given(arrivals())
def test_whatever_arrives_late_live_holds_what_offline_holds(recording):
    images, channels, order = recording
    end = max([images[-1], *(times[-1] for times in channels.values() if times)]) + 1
    image_samples = as_samples('image', images)
    samples = {name: as_samples(name, times) for name, times in channels.items()}
    live = LiveAligner(samples, clock(), history_ns=10 * NS_PER_S)
    frames = []

    def drain(patience_end_ns=None):
        while (frame := live.take(patience_end_ns)) is not None:
            frames.append(frame)

    for _, name, index in order:
        if name == 'image':
            live.push_image(image_samples[index])
        else:
            live.push(name, samples[name][index])
        drain()
    for name in samples:  # everything has arrived: nothing older can follow
        live.push(name, Sample(end, 'end'))
        drain()
    drain(end)

    # A channel that lags for longer than a period makes live skip ticks, never mix samples.
    for frame in frames:
        assert frame.held == {
            name: hold(rows, frame.image.stamp_ns) for name, rows in samples.items()
        }


@given(recordings())
def test_live_sample_by_sample_equals_offline_over_the_whole_list(recording):
    images, channels = recording
    image_samples = as_samples('image', images)
    samples = {name: as_samples(name, times) for name, times in channels.items()}
    live = LiveAligner(samples, clock())
    frames = []
    rows = [(sample.stamp_ns, 0, name, sample) for name in samples for sample in samples[name]]
    rows += [(sample.stamp_ns, 1, 'image', sample) for sample in image_samples]
    for stamp_ns, _, name, sample in sorted(rows, key=lambda row: row[:2]):
        if name == 'image':
            live.push_image(sample)
        else:
            live.push(name, sample)
        while (frame := live.take(stamp_ns)) is not None:
            frames.append(frame)
    assert frames == align(image_samples, samples, clock())


# -- the live side alone ---------------------------------------------------------------------


def test_waits_for_the_lagging_camera_but_not_for_ever():
    live = LiveAligner(['wrist'], clock())
    live.push('wrist', Sample(90 * MS, 'old'))
    live.push_image(Sample(100 * MS, 'a'))
    assert live.take() is None
    assert live.take(patience_end_ns=99 * MS) is None
    live.push('wrist', Sample(100 * MS, 'matching'))
    frame = live.take()
    assert frame is not None
    assert frame.held['wrist'].value == 'matching'

    live.push_image(Sample(300 * MS, 'b'))
    frame = live.take(patience_end_ns=300 * MS)
    assert frame is not None
    assert frame.held['wrist'].value == 'matching'


def test_newest_image_wins_after_a_slow_step():
    live = LiveAligner([], clock())
    live.push_image(Sample(0, 'first'))
    assert live.take().image.stamp_ns == 0
    for stamp in stamps(10, 15.0)[1:]:  # arrive while the consumer is busy
        live.push_image(Sample(stamp, None))
    assert live.take().image.stamp_ns == stamps(10, 15.0)[-1]
    assert live.clock.missed == 2
    assert live.take() is None


def test_does_not_wait_for_channels_that_are_stamped_on_arrival():
    live = LiveAligner(['gripper'], clock(), unstamped=['gripper'])
    live.push_image(Sample(0, None))
    assert live.take().held == {'gripper': None}
    live.push('gripper', Sample(150 * MS, 0.5))
    live.push_image(Sample(200 * MS, None))
    assert live.take().held['gripper'].value == 0.5


def test_restart_forgets_the_image_of_the_last_episode():
    live = LiveAligner(['pose'], clock())
    live.push_image(Sample(0, 'old'))
    live.restart()
    live.push('pose', Sample(1, None))
    assert live.take() is None
    live.push_image(Sample(10 * MS, 'new'))
    assert live.take(10 * MS).image.value == 'new'


def test_sample_out_of_order_is_dropped_and_a_restarted_source_is_accepted():
    live = LiveAligner(['pose'], clock(), history_ns=NS_PER_S)
    live.push('pose', Sample(5 * NS_PER_S, 'new'))
    live.push('pose', Sample(5 * NS_PER_S - MS, 'late'))
    live.push_image(Sample(5 * NS_PER_S, None))
    assert live.take().held['pose'].value == 'new'
    live.push('pose', Sample(0, 'restarted'))
    live.push_image(Sample(0, None))
    assert live.take().held['pose'].value == 'restarted'
