# SPDX-License-Identifier: Apache-2.0
"""The course of a run."""

from __future__ import annotations

from sqil_training.finetune.settings import FinetuneSettings
from sqil_training.finetune.trainer import learning_rate


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    settings = FinetuneSettings(steps=10, warm_up=2, cool_down=4, learning_rate=1.0)
    rates = [learning_rate(settings, step) for step in range(10)]
    assert rates == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
