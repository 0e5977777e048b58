# SPDX-License-Identifier: Apache-2.0
"""How far a quantised policy's actions are from those of full precision."""

from __future__ import annotations

import numpy as np
import torch

from sqil_ros.policy.openvla.action_tokenizer import decode
from sqil_ros.policy.openvla.config import L1
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.types import Array
from sqil_training.ptq.calibration import Calibration


@torch.inference_mode()
def predicted_actions(model: OpenVLA, calibration: Calibration) -> Array:
    """(N, 7) normalised actions that the policy would do on every frame, or (N, K, 7) chunks."""
    config = model.config
    if config.head == L1:
        chunks = [
            model.predict_chunk(batch, model.patch_features(batch.pixels)).float().cpu().numpy()
            for batch, _ in calibration.batches
        ]
        return np.concatenate(chunks).astype(float)
    tokens = [
        model.predict_tokens(batch, model.patch_features(batch.pixels)).cpu().numpy()
        for batch, _ in calibration.batches
    ]
    return decode(np.concatenate(tokens), config.text_vocab_size, config.n_action_bins)


def action_error(found: Array, wanted: Array) -> float:
    """Mean absolute difference of (N, ..., 7) normalised actions, all dimensions alike."""
    return float(np.abs(found - wanted).mean())
