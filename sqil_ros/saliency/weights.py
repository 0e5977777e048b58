# SPDX-License-Identifier: Apache-2.0
"""From scores to weights: the most important frames count beta times (SQIL)."""

from __future__ import annotations

import numpy as np

from sqil_ros.errors import ParameterError, ScoreError
from sqil_ros.types import Array

_DOUBLES = 0.01


def threshold(scores: Array, top: float) -> float:
    """T, which a share ``top`` of the (n,) scores exceeds; between two scores it is interpolated.

    Raises:
        ParameterError: ``top`` is not between 0 and 1.
        ScoreError: there are no scores.
    """
    if not 0.0 < top < 1.0:
        raise ParameterError(f'A share of {top} of the frames is no part of them; use 0 to 1.')
    if not len(scores):
        raise ScoreError('There are no scores to find a threshold in; score an episode first.')
    return float(np.quantile(scores, 1.0 - top))


def weights(scores: Array, top: float, beta: float) -> Array:
    """(n,) alpha: ``beta`` where a score exceeds the threshold, else 1.

    ``beta`` goes to floor(p n) or ceil(p n) of n distinct scores. Frames whose score *is* the
    threshold get 1, as in the paper ('>'; its released code has '>='), so ties can only make
    fewer frames heavy.
    """
    return np.where(scores > threshold(scores, top), beta, 1.0)


def raw_weights(scores: Array) -> Array:
    """(n,) alpha that is the score itself, divided by the mean so that frames count 1 on average.

    The paper's ablation; that the mean is 1 is an inference.

    Raises:
        ScoreError: no score is above 0.
    """
    if not len(scores) or not scores.mean() > 0.0:
        raise ScoreError(
            f'The mean of {len(scores)} scores is not above 0, so they are no weights; check that '
            'the teacher looks at its inputs.'
        )
    return scores / scores.mean()


def check_mean_weight(
    alpha: Array, scores: Array, sources: Array, top: float, beta: float
) -> None:
    """Refuse weights whose mean is not 1 + p (beta - 1): then they do not say what they should.

    Frames that use one frame's score are tied on purpose, so the mean may be off by the longest
    such group and one frame of rounding, or by 1 % of the frames where that is more: a data set
    may hold a state twice.

    Args:
        alpha: (n,) weights.
        scores: (n,) scores that they were made from.
        sources: (n,) number of the scored frame that each frame's score is from.
        top: share of heavy frames, p.
        beta: their weight.

    Raises:
        ScoreError: the mean is off by more, or no frame stands out.
    """
    limit = threshold(scores, top)
    group = int(np.unique(sources, return_counts=True)[1].max())
    slack = max((group + 1) / len(scores), _DOUBLES)
    wanted, found = 1.0 + top * (beta - 1.0), float(alpha.mean())
    if abs(found - wanted) > slack * abs(beta - 1.0) or not np.any(scores > limit):
        raise ScoreError(
            f'The mean weight is {found:.4f}, it must be {wanted:.4f} to '
            f'{slack * abs(beta - 1.0):.4f}; {int((scores == limit).sum())} of {len(scores)} '
            'frames share the score at the threshold. Check that the teacher looks at its inputs, '
            'score more episodes, or choose another perturbation.'
        )
