# SPDX-License-Identifier: Apache-2.0
"""Policies small enough to predict by hand, for tests and for bring-up without a checkpoint."""

from __future__ import annotations

import time

import numpy as np

from sqil_ros.policy.base import PolicyDescription
from sqil_ros.timing import Spans
from sqil_ros.types import ActionChunk, Observation


class ImageMeanPolicy:
    """Moves by the mean colour of the first camera: black stands still, white moves most.

    It proves that images reach the policy. Pretends to be any profile, so that swapping can be
    exercised without weights.
    """

    step_m = 0.005

    def __init__(self, profile: str = 'fp', seconds: float = 0.0) -> None:
        """Pretend to run at ``profile`` and take ``seconds`` for every step."""
        self.profile = profile
        self._seconds = seconds

    def act(self, observation: Observation) -> ActionChunk:
        """One action; its translation is 5 mm times the mean colour (0..1) of each channel."""
        spans = Spans()
        with spans('preprocess'):
            colour = observation.images[0].mean(axis=(0, 1)) / 255.0
        with spans('decode'):
            time.sleep(self._seconds)
            action = np.concatenate([self.step_m * colour, np.zeros(3), [1.0]])
        return ActionChunk(action[None], spans.milliseconds)

    def reset(self) -> None:
        """Nothing to forget."""

    def describe(self) -> PolicyDescription:
        """No weights at all."""
        return PolicyDescription('image_mean', 'numpy')


class CirclePolicy:
    """Walks a horizontal circle, one chord a step: keeps an arm busy for bandwidth and swaps."""

    def __init__(self, profile: str = 'fp', radius_m: float = 0.05, steps: int = 40) -> None:
        """Pretend to run at ``profile``; the circle has ``steps`` chords."""
        self.profile = profile
        angles = 2.0 * np.pi * np.arange(steps + 1) / steps
        corners = radius_m * np.stack([np.sin(angles), 1.0 - np.cos(angles)], axis=1)
        self._chords = np.diff(corners, axis=0)
        self._step = 0

    def act(self, observation: Observation) -> ActionChunk:
        """The next chord of the circle."""
        dx, dy = self._chords[self._step % len(self._chords)]
        self._step += 1
        return ActionChunk(np.array([[dx, dy, 0.0, 0.0, 0.0, 0.0, 1.0]]))

    def reset(self) -> None:
        """Start the circle again."""
        self._step = 0

    def describe(self) -> PolicyDescription:
        """No weights at all."""
        return PolicyDescription('circle', 'numpy')
