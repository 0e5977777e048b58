# SPDX-License-Identifier: Apache-2.0
"""Answers of an expert that learned."""

from __future__ import annotations

import numpy as np
import torch
from sqil_training.dmc.expert import Expert, new_actor


def test_an_expert_has_one_answer_to_a_state_and_stays_in_range():
    torch.manual_seed(0)
    expert = Expert(new_actor(5, 2, 8))
    seen = 100.0 * np.random.default_rng(0).normal(size=(50, 5))
    answers = np.stack([expert.act(one) for one in seen])
    assert answers.shape == (50, 2) and np.abs(answers).max() <= 1.0
    assert np.ptp(answers, axis=0).min() > 0.1
    np.testing.assert_array_equal(answers, [expert.act(one) for one in seen[::-1]][::-1])
