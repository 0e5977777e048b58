# SPDX-License-Identifier: Apache-2.0
"""Which samples belong to one control tick: the same answer live and from a recording.

A tick is an image. Every other channel is *held*: its newest sample that is not younger than
the image, because that is all a running robot can know. Live, a sample may still be on its way
when the image arrives, so :class:`LiveAligner` waits until every channel has passed the image's
stamp (or until patience ends); then it has chosen exactly what :func:`align` chooses offline.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqil_ros.errors import ParameterError

NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Sample:
    """A value and the time [ns] it describes."""

    stamp_ns: int
    value: Any


@dataclass(frozen=True)
class Frame:
    """One tick: its image and every other channel held at it, ``None`` where nothing came yet."""

    image: Sample
    held: Mapping[str, Sample | None]


def hold(samples: Sequence[Sample], stamp_ns: int) -> Sample | None:
    """The newest of ``samples`` (sorted by stamp) with ``sample.stamp_ns <= stamp_ns``.

    Of several with the same stamp the last one wins. ``None`` if all are younger.
    """
    index = bisect.bisect_right(samples, stamp_ns, key=lambda sample: sample.stamp_ns)
    return samples[index - 1] if index else None


@dataclass
class TickClock:
    """Decides which images are control ticks.

    The first image is a tick; afterwards the first image that is at least a control period after
    the previous tick, less some slack: half a camera period, at most a quarter of a control
    period. It lets a 15 Hz camera with some jitter drive 5 Hz by every third image.

    Attributes:
        period_ns: control period.
        slack_ns: how much earlier than a full period an image may be.
        ticks: ticks so far.
        missed: periods without a tick since the last :meth:`restart`, summed over restarts.
    """

    period_ns: int
    slack_ns: int
    ticks: int = 0
    missed: int = 0
    _previous_ns: int | None = field(default=None, repr=False)

    @classmethod
    def from_rates(cls, rate_hz: float, camera_hz: float) -> TickClock:
        """A clock for a control rate and a camera rate, both in Hz.

        Raises:
            ParameterError: a rate is not positive.
        """
        for name, value in (('control rate', rate_hz), ('camera rate', camera_hz)):
            if not value > 0.0:
                raise ParameterError(f'The {name} is {value} Hz; it must be above 0.')
        # More slack would let a camera that is faster than it says drive the loop too fast.
        slack_s = min(0.5 / camera_hz, 0.25 / rate_hz)
        return cls(round(NS_PER_S / rate_hz), round(slack_s * NS_PER_S))

    def offer(self, stamp_ns: int) -> bool:
        """Whether the image with this stamp is a tick; if so, counts it and the missed ones."""
        previous = self._previous_ns
        if previous is not None:
            gap = stamp_ns - previous
            if -self.period_ns < gap < self.period_ns - self.slack_ns:
                return False
            if gap > 0:
                self.missed += max(0, -(-(gap - self.slack_ns) // self.period_ns) - 1)
            # else time went back by more than a period: a bag looped or a simulation restarted.
        self._previous_ns = stamp_ns
        self.ticks += 1
        return True

    def restart(self) -> None:
        """Make the next image a tick, whenever it comes (a new episode)."""
        self._previous_ns = None


def align(
    images: Iterable[Sample], channels: Mapping[str, Sequence[Sample]], clock: TickClock
) -> list[Frame]:
    """Every tick of a recording with all channels held at it.

    Args:
        images: samples of the camera that drives the ticks, sorted by stamp.
        channels: the other channels, each sorted by stamp.
        clock: a fresh clock.
    """
    return [
        Frame(image, {name: hold(rows, image.stamp_ns) for name, rows in channels.items()})
        for image in images
        if clock.offer(image.stamp_ns)
    ]


class LiveAligner:
    """:func:`align` for samples that arrive one by one. Not thread-safe.

    While the consumer is busy, newer images replace older ones: after a slow step the newest
    image is the next tick.
    """

    def __init__(
        self,
        channels: Iterable[str],
        clock: TickClock,
        unstamped: Iterable[str] = (),
        history_ns: int = 2 * NS_PER_S,
    ) -> None:
        """Start with nothing received.

        Args:
            channels: names of the channels beside the driving camera.
            clock: decides about ticks.
            unstamped: channels whose samples are stamped on arrival, so that none can still be
                on its way and an image need not wait for them.
            history_ns: how long old samples are kept.
        """
        self.clock = clock
        self._unstamped = frozenset(unstamped)
        self._history_ns = history_ns
        self._channels: dict[str, list[Sample]] = {name: [] for name in channels}
        self._newest: Sample | None = None
        self._pending: Sample | None = None
        self._busy = False

    def push_image(self, image: Sample) -> None:
        """An image of the camera that drives the ticks has arrived."""
        self._newest = image
        if not self._busy:
            self._offer_newest()

    def push(self, channel: str, sample: Sample) -> None:
        """A sample of another channel has arrived; one older than its predecessor is dropped.

        A step back of more than the history means that time restarted: the channel starts anew.
        """
        samples = self._channels[channel]
        if samples and sample.stamp_ns < samples[-1].stamp_ns:
            if samples[-1].stamp_ns - sample.stamp_ns < self._history_ns:
                return
            samples.clear()
        samples.append(sample)
        oldest = sample.stamp_ns - self._history_ns
        while len(samples) > 1 and samples[1].stamp_ns <= oldest:  # the held one stays
            samples.pop(0)

    def take(self, patience_end_ns: int | None = None) -> Frame | None:
        """The next frame, if there is one; the consumer is then busy until it asks again.

        Args:
            patience_end_ns: an image with at most this stamp is not made to wait for channels
                that lag behind it; ``None`` waits for ever.
        """
        if self._busy:
            self._busy = False
            self._offer_newest()
        image = self._pending
        if image is None or not (
            self._complete(image.stamp_ns)
            or (patience_end_ns is not None and image.stamp_ns <= patience_end_ns)
        ):
            return None
        self._pending = None
        self._busy = True
        held = {name: hold(rows, image.stamp_ns) for name, rows in self._channels.items()}
        return Frame(image, held)

    @property
    def pending(self) -> bool:
        """Whether an image waits to be taken."""
        return self._pending is not None

    def restart(self) -> None:
        """Forget the images and make the next one a tick (a new episode)."""
        self._newest = self._pending = None
        self.clock.restart()

    def _offer_newest(self) -> None:
        newest = self._newest
        if newest is not None and self._pending is None and self.clock.offer(newest.stamp_ns):
            self._pending = newest

    def _complete(self, stamp_ns: int) -> bool:
        return all(
            name in self._unstamped or (samples and samples[-1].stamp_ns >= stamp_ns)
            for name, samples in self._channels.items()
        )
