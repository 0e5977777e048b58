# SPDX-License-Identifier: Apache-2.0
"""Chunks of demonstrated actions, and the loss of a policy that answers with chunks.

Behind an episode's last step there is nothing to imitate. OpenVLA-OFT's release leaves out every
start whose chunk would reach beyond it (``chunk_act_obs`` of
``prismatic/vla/datasets/rlds/traj_transforms.py``), so that the last K - 1 pictures of an episode
are never seen. Here they are, and steps that nobody demonstrated have no loss (inference; as ACT
does, arXiv 2304.13705).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sqil_ros.types import Array


def chunks_from(
    actions: Array, last: np.ndarray, rows: np.ndarray, length: int
) -> tuple[Array, np.ndarray]:
    """What was done from some steps on.

    Args:
        actions: (N, 7) of all episodes, one after the other.
        last: (N,) row of the last step of each step's episode.
        rows: (R,) where chunks start.
        length: K.

    Returns:
        (R, K, 7) actions and (R, K) whether each was demonstrated; behind the end of an episode
        stands its last action.
    """
    wanted = rows[:, None] + np.arange(length)
    ends = last[rows][:, None]
    return actions[np.minimum(wanted, ends)], wanted <= ends


def chunk_loss(predicted: Tensor, demonstrated: Tensor, known: Tensor) -> Tensor:
    """Mean absolute error of what was demonstrated (L1, arXiv 2502.19645).

    Args:
        predicted: (R, K, 7) normalised.
        demonstrated: (R, K, 7) normalised.
        known: (R, K) whether a step counts.
    """
    return (predicted - demonstrated).abs()[known].mean()
