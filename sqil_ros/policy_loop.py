# SPDX-License-Identifier: Apache-2.0
"""The control step of a policy, without ROS: samples in, one decision a tick out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqil_ros.align import NS_PER_S, LiveAligner, Sample, TickClock
from sqil_ros.contract import Contract
from sqil_ros.errors import ObservationError, SqilError, StaleObservation
from sqil_ros.observation import UNSTAMPED, FreshnessLimits, build_observation, channels
from sqil_ros.plan import Plan
from sqil_ros.policy.base import Policy, check_chunk
from sqil_ros.timing import Spans
from sqil_ros.types import Array, Observation

_NS_PER_MS = 1e6
_AHEAD_MS = 100.0


@dataclass(frozen=True)
class Step:
    """What came of one tick.

    Attributes:
        stamp_ns: the image that was acted upon.
        profile: precision the policy ran at.
        actions: (K, 7) from this tick on, the first for now; ``None`` if the step was refused.
        chunk_index: place of the first of them in the chunk that the policy answered with.
        refusal: why there is no action; empty otherwise.
        spans: milliseconds per stage.
        observation: of this tick; ``None`` where it was refused before it was made.
    """

    stamp_ns: int
    profile: str
    actions: Array | None
    refusal: str
    spans: Mapping[str, float]
    observation: Observation | None = None
    chunk_index: int = 0


@dataclass(frozen=True)
class Counters:
    """Ticks with an action, and ticks without one since the first action of the session."""

    ticks: int
    missed: int


class PolicyLoop:
    """Collects samples from any thread and runs the policy on the caller's.

    ``push_image``, ``push``, ``refuse_image``, ``set_instruction`` and ``restart`` return at
    once; ``step`` blocks for as long as the policy thinks and belongs to one thread.
    """

    def __init__(
        self,
        contract: Contract,
        clock: TickClock,
        limits: FreshnessLimits,
        now_ns: Callable[[], int],
        patience_ms: float = 30.0,
        chunk_steps: int = 0,
    ) -> None:
        """Start with nothing received.

        Args:
            contract: cameras and conventions.
            clock: decides which images are control ticks.
            limits: ages above which a tick is refused.
            now_ns: clock of the image stamps.
            patience_ms: age up to which an image waits for samples that lag behind it.
            chunk_steps: actions of a chunk that are executed before the policy is asked again;
                0 for all.
        """
        self._contract = contract
        self._camera = contract.cameras[0].name
        self._limits = limits
        self._now_ns = now_ns
        self._patience_ns = round(patience_ms * _NS_PER_MS)
        self._changed = threading.Condition()
        self._aligner = LiveAligner(channels(contract), clock, UNSTAMPED)
        self._instruction = ''
        self._refused: dict[str, str] = {}
        self._restart = False
        self._plan = Plan(chunk_steps)
        self._period_ns = clock.period_ns
        self._signalled = False
        self._ticks = 0
        self._refused_ticks = 0
        self._missed_before = 0

    def push_image(self, camera: str, sample: Sample) -> None:
        """An image of ``camera`` that the contract allows has arrived.

        Raises:
            StaleObservation: it is stamped in the future; nothing could ever match it.
        """
        ahead_ms = (sample.stamp_ns - self._now_ns()) / _NS_PER_MS
        if ahead_ms > _AHEAD_MS:
            raise StaleObservation(
                f'Camera {camera!r} stamps its images {ahead_ms:.0f} ms ahead of this clock, the '
                f'limit is {_AHEAD_MS:.0f} ms; synchronise the clocks of both machines.'
            )
        with self._changed:
            self._refused.pop(camera, None)
            if camera == self._camera:
                self._aligner.push_image(sample)
            else:
                self._aligner.push(camera, sample)
            self._signal()

    def push(self, channel: str, sample: Sample) -> None:
        """A pose or an opening has arrived."""
        with self._changed:
            self._aligner.push(channel, sample)
            self._signal()

    def refuse_image(self, camera: str, error: ObservationError) -> None:
        """An image of ``camera`` was refused: no step is made until a good one follows."""
        with self._changed:
            self._refused[camera] = str(error)

    def set_instruction(self, instruction: str) -> None:
        """The operator asked for something."""
        with self._changed:
            self._instruction = instruction

    def restart(self, count_anew: bool = False) -> None:
        """A new episode begins: the policy forgets the last one before its next step.

        Args:
            count_anew: also set the counters to zero (the node has been activated).
        """
        with self._changed:
            self._restart = True
            self._aligner.restart()
            if count_anew:
                self._ticks = 0

    @property
    def instruction(self) -> str:
        """What the operator asked for last."""
        with self._changed:
            return self._instruction

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why images are being refused at this moment."""
        with self._changed:
            return tuple(self._refused.values())

    @property
    def counters(self) -> Counters:
        """Ticks acted upon and missed so far."""
        with self._changed:
            skipped = self._aligner.clock.missed - self._missed_before
            return Counters(self._ticks, skipped + self._refused_ticks if self._ticks else 0)

    def wait(self, timeout_s: float) -> None:
        """Sleep until :meth:`step` may have something to do, at most ``timeout_s``."""
        with self._changed:
            if self._aligner.pending:
                timeout_s = min(timeout_s, self._patience_ns / NS_PER_S)
            self._changed.wait_for(lambda: self._signalled, timeout_s)
            self._signalled = False

    def step(self, policy: Policy) -> Step | None:
        """Act on the next tick, if it is there.

        Raises:
            Exception: whatever ``policy`` raises beside a :class:`SqilError`; such a policy is
                broken and must not be asked again.
        """
        with self._changed:
            now_ns = self._now_ns()
            frame = self._aligner.take(now_ns - self._patience_ns)
            if frame is None:
                return None
            instruction = self._instruction
            refused = ' '.join(self._refused.values())
            missed = self._aligner.clock.missed
            restart, self._restart = self._restart, False
        if restart:
            policy.reset()
            self._plan.forget()
        spans = Spans()
        spans.add('image_age', (now_ns - frame.image.stamp_ns) / _NS_PER_MS)
        actions = observation = planned = None
        refusal = refused
        if not refused:
            try:
                observation = build_observation(
                    self._contract, frame, instruction, self._limits, now_ns
                )
                made_for = instruction, policy.profile
                planned = self._plan.next(made_for, missed)
                if planned is None:
                    with spans('policy'):
                        chunk = check_chunk(policy.act(observation))
                    thought = (self._now_ns() - frame.image.stamp_ns) // self._period_ns
                    planned = self._plan.follow(chunk.actions, made_for, missed, thought)
                    for stage, milliseconds in chunk.spans.items():
                        spans.add(stage, milliseconds)
                actions = planned.actions
            except SqilError as error:
                refusal = str(error)
        if actions is None:
            self._plan.forget()
        self._count(acted=actions is not None)
        return Step(
            frame.image.stamp_ns,
            policy.profile,
            actions,
            refusal,
            spans.milliseconds,
            observation,
            0 if planned is None else planned.place,
        )

    def _signal(self) -> None:
        if self._aligner.pending:  # else a thread would wake for every pose
            self._signalled = True
            self._changed.notify()

    def _count(self, acted: bool) -> None:
        with self._changed:
            if acted:
                if self._ticks == 0:  # waiting for robot and cameras to come up misses nothing
                    self._missed_before = self._aligner.clock.missed
                    self._refused_ticks = 0
                self._ticks += 1
            else:
                self._refused_ticks += 1
