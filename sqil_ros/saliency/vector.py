# SPDX-License-Identifier: Apache-2.0
"""Which numbers of its input a policy's answer hangs on: saliency of vector observations.

SQIL disturbs regions of pictures and says nothing about vectors. Inference: each dimension is
disturbed in turn with normal noise of that dimension's standard deviation in the data set, and
the score is the mean over the dimensions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sqil_ros.errors import ParameterError
from sqil_ros.saliency.discrepancy import DISCREPANCIES
from sqil_ros.types import Array

DRAWS = 4
"""Noise values per dimension: with one, chance alone would let scores differ by orders."""


@torch.inference_mode()
def vector_saliency(
    answer: Callable[[Array], Tensor],
    vector: Array,
    deviations: Array,
    discrepancy: str,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Array:
    """(D,) local saliency of every dimension; its mean is the State Importance Score.

    For a linear policy W and the ``l2`` discrepancy, dimension d gives half the squared norm of
    W's column d times the mean of the squared noise.

    Args:
        answer: (B, D) vectors, in the data set's units, to (B, T, K) logits.
        vector: (D,) the state.
        deviations: (D,) standard deviations in the data set; a dimension that never moves has 0
            and gets no saliency.
        discrepancy: name of the distance between answers.
        rng: chance of the noise.
        draws: noise values tried per dimension.

    Raises:
        ParameterError: ``vector`` and ``deviations`` differ in length, or ``draws`` is below 1.
    """
    if vector.shape != deviations.shape or draws < 1:
        raise ParameterError(
            f'A vector of shape {vector.shape} cannot be disturbed {draws} times with deviations '
            f'of shape {deviations.shape}; both need one length, and draws at least 1.'
        )
    size = len(vector)
    noise = rng.normal(size=(draws, size)) * deviations
    disturbed = vector + noise[:, :, None] * np.eye(size)
    logits = answer(np.concatenate([vector[None], disturbed.reshape(-1, size)]))
    distances = DISCREPANCIES[discrepancy].distance(logits[0], logits[1:])
    return distances.view(draws, size).mean(dim=0).cpu().numpy()
