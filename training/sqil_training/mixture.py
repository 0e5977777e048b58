# SPDX-License-Identifier: Apache-2.0
"""Who acts in an episode that a learner is taught in."""

from __future__ import annotations

import numpy as np

# A learner that is stuck shows the same picture again and again; more of it teaches nothing.
LONGEST = 60
"""Actions to an episode of a learner."""


class Mixture:
    """Decides who acts: stretches of the policy, interrupted by short ones of the teacher."""

    def __init__(self, teacher_share: float, rng: np.random.Generator) -> None:
        """Let the teacher act on about ``teacher_share`` of the steps."""
        self._share, self._rng = teacher_share, rng
        self._left, self._teacher = 0, False

    def teacher_acts(self) -> bool:
        """Whether the teacher acts at this step."""
        if self._left == 0:
            self._teacher = bool(self._rng.random() < self._share)
            self._left = int(self._rng.integers(2, 10))
        self._left -= 1
        return self._teacher
